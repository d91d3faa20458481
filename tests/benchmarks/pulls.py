"""
Workers that pull: each claims with its heartbeat and reports an outcome for each execution, until nothing is left.

`python -m tests.benchmarks.pulls '{"port": 8000, …}'` prints how many executions a second came back with an outcome.
"""

import json
import selectors
import sys
import time
from collections.abc import Generator
from typing import Any

from attrs import evolve

from tests.benchmarks.load import PATIENCE, Ask, dial

CLAIM = 20
OUTCOME = json.dumps({"success": True, "result": "done"})


def work(ask: Ask, number: int) -> Generator[Ask, dict[str, Any], int]:
    """What one worker asks, one thing after the other, and is answered; how many executions it did."""
    body = {"worker_id": f"worker-{number}", "claim": CLAIM}
    heartbeat = evolve(ask, method="POST", path="/v1/worker/heartbeat", body=json.dumps(body))
    done = 0
    while executions := (yield heartbeat)["executions"]:
        for execution in executions:
            path = f"/v1/executions/{execution['execution_id']}/outcome"
            yield evolve(ask, method="POST", path=path, body=OUTCOME)
            done += 1
    return done


def pull(ask: Ask) -> float:
    """A worker on each connection, until none finds anything; executions a second."""
    begun, done = time.perf_counter(), 0
    with selectors.DefaultSelector() as selector:
        for number in range(ask.connections):
            line, worker = dial(ask, number), work(ask, number)
            selector.register(line.plug, selectors.EVENT_READ, (line, worker))
            line.say(next(worker))
        while selector.get_map():
            if not (heard := selector.select(PATIENCE)):
                raise TimeoutError("no answer comes")
            for key, _ in heard:
                line, worker = key.data
                if (answer := line.hear()) is None:
                    continue
                try:
                    line.say(worker.send(json.loads(answer)))
                except StopIteration as ended:
                    done += ended.value
                    selector.unregister(line.plug)
                    line.plug.close()
    return done / (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(pull(Ask(**json.loads(sys.argv[1])))))
