-- Closes targets that nothing is sent to any more: nothing waits for them, no active cue calls them, and no other cue that
-- does has a delivery to come. One whose probe is under way is moved by that.
--
-- Guarantees: only what is still as it was found is closed; what another daemon is moving is left to it. A cue that calls
-- the host from now on finds it closed: what was set waiting meanwhile is freed, as for each target that is not held.
--
-- :why    what the title of the incident then says
-- :most   so many at once
with found as materialized (
    select t.user_id, t.host, t.state, t.next_probe_at, t.probe_claim
      from targets t
     where t.held_until > now()
       and (t.state = 'open'
            or t.state = 'half_open'
               and not exists (select from executions e where e.id = t.probe and e.claim = t.probe_claim))
       -- Not by `exists`: each is one look at an index, in this order.
       and case when (select true from outbox o
                       where o.user_id = t.user_id and o.host = t.host
                         and o.claimed_by is null and o.waits_until is not null
                       order by o.ready_at limit 1) then false
                when (select true from cues c
                       where c.user_id = t.user_id and c.callback_host = t.host and c.status = 'active'
                         and c.transport = 'webhook' and c.deleted_at is null
                       limit 1) then false
                -- Where an account has more than so many cues, those retries begin at a target that is closed.
                else (select true
                        from (select c.id from cues c
                               where c.user_id = t.user_id and c.callback_host = t.host
                                 and c.transport = 'webhook' and c.deleted_at is null
                               limit 10000) c
                        join outbox o on o.cue_id = c.id
                       limit 1) is null end
     limit :most
), locked as materialized (
    select t.user_id, t.host, t.state
      from found f
      join targets t on t.user_id = f.user_id and t.host = f.host
     where t.state = f.state
       and t.next_probe_at = f.next_probe_at
       and t.probe_claim is not distinct from f.probe_claim
     order by t.user_id, t.host
       for no key update of t skip locked
-- include: close_locked
