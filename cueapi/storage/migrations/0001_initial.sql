-- The whole schema. PostgreSQL is the truth: what the API answered 2xx for is stored here.
--
-- The database says no: states, ranges and shapes are types with CHECKs, so that no reader needs to guard against a row
-- that was edited in SQL. What concerns one column is a domain, which is checked where that column is written; a CHECK of
-- a table is prepared anew by each statement that updates any column of a row, which took a fifth of the time of a
-- worker's outcome. CHECKs of tables are for what concerns two columns.

-- What Python's datetime can hold; `infinity` is refused.
create domain moment as timestamptz check (value >= '0001-01-01 00:00:00+00' and value < '10000-01-01 00:00:00+00');

-- What the clock of a zone shows.
create domain reading as timestamp check (value >= '0001-01-01 00:00:00' and value < '10000-01-01 00:00:00');

create domain counter as bigint check (value >= 0);
create domain attempt_number as integer check (value between 0 and 1000);
create domain http_status as smallint check (value between 100 and 999);
create domain threshold as smallint check (value between 1 and 100);
create domain transport as text check (value in ('webhook', 'worker'));
create domain label as text check (length(value) between 1 and 255);           -- names, cron expressions, time zones
create domain task as text check (length(value) <= 255);
create domain web_address as text check (length(value) between 1 and 2048);
create domain host as text check (length(value) between 1 and 300);            -- host:port, what fairness counts by
-- Under a key derived from SESSION_SECRET: 8 bytes that name it, a nonce of 12, a text and its tag of 16.
create domain ciphertext as bytea check (octet_length(value) > 36);
create domain device_code as text check (value ~ '^[A-Za-z0-9-]{6,40}$');
create domain session_text as text check (length(value) <= 200);
create domain document as json check (json_typeof(value) = 'object');

create domain cue_group as text check (value ~ '^[a-z0-9][a-z0-9._-]{0,62}$');
create domain cue_status as text check (value in ('active', 'paused', 'completed', 'failed'));
create domain schedule_type as text check (value in ('recurring', 'once'));
create domain catchup as text check (value in ('latest', 'all', 'none'));
create domain overlap as text check (value in ('allow', 'skip'));
create domain callback_method as text check (value in ('POST', 'GET', 'PUT', 'PATCH'));
create domain max_attempts as smallint check (value between 1 and 11);
create domain backoff_minutes as integer[] check (
    array_ndims(value) = 1 and cardinality(value) between 1 and 10 and array_position(value, null) is null
    and 0 <= all (value) and 1440 >= all (value));
create domain verification as text check (
    value in ('none', 'require_external_id', 'require_result_url', 'require_artifacts', 'manual'));
create domain timeout_seconds as integer check (value between 1 and 3600);
create domain outcome_deadline_seconds as integer check (value between 1 and 604800);

create domain triggered_by as text check (value in ('scheduled', 'manual_fire', 'replay'));
create domain execution_status as text check (
    value in ('pending', 'delivering', 'retrying', 'success', 'failed', 'missed', 'outcome_timeout'));
create domain outcome_state as text check (
    value in ('reported_success', 'reported_failure', 'verified_success', 'verification_failed',
              'verification_pending'));
create domain notification_kind as text check (
    value in ('alert_webhook', 'failure_webhook', 'failure_mail', 'sign_in_mail', 'address_mail', 'account_mail'));
create domain validation_state as text check (value in ('valid', 'missing', 'rejected'));

create domain response_excerpt as text check (length(value) <= 2000);

create table meta (
    key    text primary key,
    value  text not null
);

create table users (
    id                       bigint generated always as identity primary key,
    email                    text not null check (length(email) between 1 and 320),
    email_verified_at        moment,                -- null: nothing has shown yet that the mail box is the user's
    plan                     text not null check (plan <> ''),
    active_cue_limit         counter,               -- null: the plan's
    monthly_execution_limit  counter,               -- null: the plan's
    rate_limit_per_minute    counter,               -- null: the plan's
    -- Active and paused; kept by the trigger below.
    live_cues                counter not null default 0,
    webhook_secret           ciphertext not null,
    previous_webhook_secret  ciphertext,
    previous_secret_until    moment,
    alert_webhook_url        web_address,
    alert_webhook_secret     ciphertext,
    sessions_valid_from      moment,           -- null: no session was ended yet
    grace_month              date,
    grace_until              moment,
    revoked_at               moment,
    created_at               moment not null default now(),
    updated_at               moment not null default now()
);
create unique index users_email on users (lower(email));

create table api_keys (
    hash        bytea primary key,                  -- SHA-256; the key itself is kept nowhere readable
    user_id     bigint not null references users on delete cascade,
    prefix      text not null,
    encrypted   ciphertext,
    created_at  moment not null default now(),
    rotated_at  moment                        -- for 24 h it answers key_rotated
);
create unique index api_keys_one_live on api_keys (user_id) where rotated_at is null;
create index api_keys_rotated on api_keys (rotated_at) where rotated_at is not null;

create table session_tokens (
    hash        bytea primary key,
    user_id     bigint not null references users on delete cascade,
    expires_at  moment not null
);
create index session_tokens_expiry on session_tokens (expires_at);

-- Links that show whose mail box it is: of the account's address, or of the one that it is to have.
create table address_links (
    token_hash  bytea primary key,
    user_id     bigint not null references users on delete cascade,
    email       text not null check (length(email) between 1 and 320),
    expires_at  moment not null
);
-- A newer link to an address replaces the older one.
create unique index address_links_newest on address_links (user_id, lower(email));
create index address_links_expiry on address_links (expires_at);

-- Links that sign a browser in: from a mail, or from the operator.
create table sign_in_links (
    token_hash  bytea primary key,
    email       text check (length(email) between 1 and 320),   -- null: of the first account, its user enters one
    by_mail     boolean not null,                   -- where it works, it shows whose mail box it is
    expires_at  moment not null
);
create index sign_in_links_expiry on sign_in_links (expires_at);

create table device_codes (
    code          device_code primary key,
    status        text not null check (status in ('pending', 'email_sent', 'approved', 'claimed')),
    email         text,
    user_id       bigint references users on delete cascade,
    new_user      boolean not null default false,
    token_hash    bytea unique,
    expires_at    moment not null,
    created_at    moment not null default now()
);
create index device_codes_expiry on device_codes (expires_at);
create index device_codes_user on device_codes (user_id) where user_id is not null;

-- A person signed in with a browser, for as long as the key that the account had then is its key.
create table browser_sessions (
    hash        bytea primary key,                  -- SHA-256 of the cookie's token
    user_id     bigint not null references users on delete cascade,
    key_hash    bytea not null references api_keys on delete cascade,
    browser     session_text not null,              -- how the browser called itself
    address     session_text not null,              -- from where it signed in
    created_at  moment not null default clock_timestamp(),
    seen_at     moment not null default clock_timestamp()
);
create index browser_sessions_user on browser_sessions (user_id, created_at);
create index browser_sessions_key on browser_sessions (key_hash);
create index browser_sessions_seen on browser_sessions (seen_at);

create table idempotency_keys (
    user_id     bigint not null references users on delete cascade,
    method      text not null,
    path        text not null,
    key         text not null,
    body_hash   bytea not null,
    status      http_status not null,
    answer      ciphertext not null,                -- it shows the headers of a cue
    created_at  moment not null default now(),
    primary key (user_id, key, path, method)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table echoes (
    token        text primary key,
    payload      json not null,
    headers      ciphertext not null,
    received_at  moment not null default now(),
    expires_at   moment not null
);
create index echoes_expiry on echoes (expires_at);

create table cues (
    id                    text primary key check (length(id) between 1 and 64),
    user_id               bigint not null references users on delete cascade,
    name                  label not null,
    description           text,
    group_name            cue_group,
    status                cue_status not null,
    transport             transport not null,
    schedule_type         schedule_type not null,
    cron                  label,
    schedule_at           moment,
    schedule_local        reading,                  -- null: schedule_at was given as a moment
    timezone              label not null,
    catchup               catchup not null,
    overlap               overlap not null,
    callback_url          web_address,
    callback_method       callback_method not null,
    callback_headers      ciphertext,               -- null: none; else a JSON object
    callback_host         host,
    payload               document not null,     -- as json.dumps(sort_keys=True) writes it
    task                  task,                     -- payload.task, where it is a string
    max_attempts          max_attempts not null,
    backoff_minutes       backoff_minutes not null,
    on_failure_email      boolean not null default true,
    on_failure_webhook    web_address,
    on_failure_pause      boolean not null default false,
    verification          verification not null,
    -- Null: the daemon's own.
    timeout_seconds                timeout_seconds,
    outcome_deadline_seconds       outcome_deadline_seconds,
    alert_consecutive_failures     threshold,
    alert_missed_window_multiplier threshold,
    warning               text,
    -- Why `on_failure` has paused it, and when; a change of the status clears it.
    pause_reason          text,
    next_run              moment,
    next_local            reading,                  -- what next_run is when the zone's rules change
    planned_at            moment not null default now(),   -- when next_run was computed
    last_run              moment,
    fired_count           counter not null default 0,
    run_count             counter not null default 0,
    consecutive_failures  counter not null default 0,
    revision              counter not null default 0,   -- moves with schedule and status: a fence
    created_at            moment not null default statement_timestamp(),
    updated_at            moment not null default statement_timestamp(),
    deleted_at            moment,
    constraint cues_schedule check (
        (schedule_type = 'recurring') = (cron is not null) and (schedule_type = 'once') = (schedule_at is not null)),
    constraint cues_callback check (
        transport = 'worker' or callback_url is not null and callback_host is not null)
) with (fillfactor = 85);
create unique index cues_name on cues (user_id, name) where deleted_at is null;
create index cues_newest on cues (user_id, created_at desc, id desc) where deleted_at is null;
create index cues_by_status on cues (user_id, status, created_at desc, id desc) where deleted_at is null;
create index cues_by_group on cues (user_id, group_name, created_at desc, id desc)
    where deleted_at is null and group_name is not null;
create index cues_due on cues (next_run) where next_run is not null;
create index cues_written on cues (greatest(last_run, planned_at));    -- later than now: the clock was set back
-- What the first page shows: what comes next, and what fails.
create index cues_next on cues (user_id, next_run)
    where next_run is not null and status = 'active' and deleted_at is null;
create index cues_failing on cues (user_id, id)
    where consecutive_failures > 0 and status in ('active', 'paused') and deleted_at is null;
create index cues_deleted on cues (deleted_at) where deleted_at is not null;

-- users.live_cues moves where a cue begins or ceases to count, by whatever statement.
create function count_live_cue() returns trigger language plpgsql as $$
declare
    before integer := case when tg_op <> 'INSERT' and old.deleted_at is null and old.status in ('active', 'paused') then 1 else 0 end;
    after  integer := case when tg_op <> 'DELETE' and new.deleted_at is null and new.status in ('active', 'paused') then 1 else 0 end;
begin
    if before <> after then
        update users set live_cues = live_cues + after - before where id = coalesce(new.user_id, old.user_id);
    end if;
    return null;
end $$;
create trigger cues_live_made after insert on cues for each row execute function count_live_cue();
create trigger cues_live_gone after delete on cues for each row execute function count_live_cue();
create trigger cues_live_moved after update on cues for each row
    when (old.status <> new.status or old.deleted_at is distinct from new.deleted_at)
    execute function count_live_cue();

-- No foreign keys on the tables of the hot path: each check would lock the cue's row, which the poll and the
-- recorder both write. The janitor removes what belongs to a deleted cue.
create table executions (
    id                   uuid primary key,          -- UUIDv7
    cue_id               text not null,
    user_id              bigint not null,
    transport            transport not null,
    triggered_by         triggered_by not null,
    replayed_from        uuid,
    scheduled_for        moment not null,
    status               execution_status not null,
    ready_at             moment not null,      -- pending and retrying: from when it may be claimed
    attempts             attempt_number not null default 0,   -- attempts begun
    lost_claims          attempt_number not null default 0,   -- claims lost in a row
    claim                uuid,                      -- the fence of the attempt under way
    claimed_by_worker    text,
    claimed_at           moment,
    lease_until          moment,               -- a worker's; a daemon's is in the outbox
    started_at           moment,
    last_attempt_at      moment,
    delivered_at         moment,
    finished_at          moment,
    http_status          http_status,
    response_body        text,
    error_message        text,
    payload              document not null,
    task                 task,
    -- payload.agent, by which a worker may filter what it claims.
    agent                task generated always as (
        case when transport = 'worker' and json_typeof(payload -> 'agent') = 'string'
                  and length(payload ->> 'agent') <= 255
             then payload ->> 'agent' end) stored,
    missed_runs          counter not null default 0,
    outcome_attempt      attempt_number,            -- the attempt that the last report was for
    outcome_success      boolean,
    outcome_result       text,
    outcome_error        text,
    outcome_metadata     json,
    outcome_recorded_at  moment,
    outcome_state        outcome_state,
    outcome_deadline_at  moment,
    external_id          text,
    result_url           text,
    result_ref           text,
    result_type          text,
    summary              text,
    artifacts            json,
    validation_state     validation_state,
    created_at           moment not null default clock_timestamp(),
    updated_at           moment not null default clock_timestamp()
) with (fillfactor = 85);
create index executions_newest on executions (user_id, created_at desc, id desc);
create index executions_of_cue on executions (cue_id, created_at desc, id desc);
create index executions_by_status on executions (user_id, status, created_at desc, id desc);
create index executions_by_outcome on executions (user_id, outcome_state, created_at desc, id desc)
    where outcome_state is not null;
create index executions_by_hand on executions (user_id, triggered_by, created_at desc, id desc)
    where triggered_by <> 'scheduled';
create index executions_by_worker on executions (user_id, claimed_by_worker, created_at desc, id desc)
    where claimed_by_worker is not null;
create index executions_by_result_type on executions (user_id, result_type, created_at desc, id desc)
    where result_type is not null;
create index executions_with_evidence on executions (user_id, created_at desc, id desc)
    where num_nonnulls(external_id, result_url, result_ref, result_type, summary, artifacts) > 0;
-- How many have none: without it the planner takes nearly all executions for those with evidence.
create statistics executions_evidence
    on (num_nonnulls(external_id, result_url, result_ref, result_type, summary, artifacts)) from executions;
create unique index executions_fired_once on executions (cue_id, scheduled_for) where triggered_by = 'scheduled';
create index executions_claimable on executions (user_id, ready_at, id)
    where transport = 'worker' and status in ('pending', 'retrying');
create index executions_claimable_task on executions (user_id, task, ready_at, id)
    where transport = 'worker' and status in ('pending', 'retrying');
-- `claim is null` is implied, but claims do not say it: one planned by this index walks past all other accounts' work.
create index executions_claimable_agent on executions (user_id, agent, ready_at, id)
    where transport = 'worker' and status in ('pending', 'retrying') and agent is not null;
create index executions_unclaimed on executions (ready_at)
    where transport = 'worker' and status in ('pending', 'retrying') and claim is null;
create index executions_held on executions (lease_until) where transport = 'worker' and status = 'delivering';
create index executions_open on executions (outcome_deadline_at)
    where outcome_deadline_at is not null and (outcome_attempt is null or outcome_attempt < attempts)
      and status in ('success', 'delivering');   -- only what an outcome may still come of
-- What one worker holds: a heartbeat may say what it runs.
create index executions_held_by on executions (user_id, claimed_by_worker)
    where transport = 'worker' and status = 'delivering';
-- What waits for something, by when it was written: later than now, and the clock was set back.
create index executions_written on executions (updated_at)
    where finished_at is null
       or outcome_deadline_at is not null and (outcome_attempt is null or outcome_attempt < attempts);
create index executions_replays on executions (replayed_from) where replayed_from is not null;
create index executions_unfinished on executions (cue_id) where finished_at is null;
create index executions_finished on executions (finished_at) where finished_at is not null;

-- They go with their execution.
create table attempts (
    execution_id  uuid not null,
    attempt       integer not null check (attempt between 1 and 1000),
    started_at    moment,
    duration_ms   counter,
    http_status   http_status,
    error         text,
    outcome       text,
    response_body response_excerpt,
    primary key (execution_id, attempt)
);

-- One row for each webhook execution that is not settled: the queue of the dispatcher.
create table outbox (
    execution_id  uuid primary key,
    cue_id        text not null,
    user_id       bigint not null,
    host          text not null,
    ready_at      moment not null,
    claimed_by    integer,                          -- the daemon
    lease_until   moment,
    constraint outbox_claim check ((claimed_by is null) = (lease_until is null))
) with (fillfactor = 85);
create index outbox_ready on outbox (ready_at) where claimed_by is null;
create index outbox_claimed on outbox (claimed_by, lease_until) where claimed_by is not null;
create index outbox_of_cue on outbox (cue_id);

-- A daemon lives while the session-level advisory lock of its number is held. One that is frozen holds it, too: it has no
-- more beats. They are counted and not dated, since clocks jump.
create table daemons (
    number      integer generated always as identity primary key,
    instance    text not null,                      -- host, address and port: the same after a restart
    started_at  moment not null default now(),
    free_since  moment,                       -- when its lock was first seen free
    beats       counter not null default 0
);

-- One whose lock was free for less than 5 s may only have lost its connection.
create view living_daemons as
select number from daemons where free_since is null or free_since > now() - interval '5 seconds';

create table workers (
    user_id             bigint not null references users on delete cascade,
    worker_id           label not null,
    handlers            text[] not null default '{}' check (array_position(handlers, null) is null),
    registered_since    moment not null default now(),
    last_heartbeat      moment not null default now(),
    offline_alerted_at  moment,                -- null: no alert was raised yet
    primary key (user_id, worker_id)
) with (fillfactor = 70);
create index workers_silent on workers (last_heartbeat);
create index workers_alerted on workers (offline_alerted_at) where offline_alerted_at is not null;

create table alerts (
    id            uuid primary key,
    user_id       bigint not null references users on delete cascade,
    cue_id        text,
    execution_id  uuid,
    alert_type    text not null check (alert_type in ('consecutive_failures', 'verification_failed', 'outcome_timeout',
                                                      'execution_failed', 'missed_run', 'worker_offline')),
    severity      text not null check (severity in ('warning', 'critical')),
    message       text not null,
    metadata      document not null default '{}',
    acknowledged  boolean not null default false,
    created_at    moment not null default clock_timestamp()
);
create index alerts_newest on alerts (user_id, created_at desc, id desc);
create index alerts_open_first on alerts (user_id, acknowledged, created_at desc, id desc);
create index alerts_by_type on alerts (user_id, alert_type, created_at desc, id desc);
create index alerts_of_execution on alerts (execution_id) where execution_id is not null;
create index alerts_age on alerts (created_at);

-- One alert per (user, type, subject) in 5 minutes: the statement that moves the row may raise it.
create table alert_gates (
    user_id     bigint not null,
    alert_type  text not null,
    subject     text not null,
    raised_at   moment not null,
    primary key (user_id, alert_type, subject)
);
create index alert_gates_age on alert_gates (raised_at);

-- Alert webhooks, failure webhooks and mails that are still to go out.
create table notifications (
    id            bigint generated always as identity primary key,
    kind          notification_kind not null,
    user_id       bigint,                           -- null: a sign-in mail to an address that has no account yet
    url           text,                             -- where a webhook goes
    content       document not null,
    ready_at      moment not null default now(),
    attempts      smallint not null default 0 check (attempts >= 0),
    claim         uuid,
    claimed_by    integer,
    lease_until   moment,
    created_at    moment not null default now(),
    constraint notifications_url check ((url is not null) = (kind in ('alert_webhook', 'failure_webhook'))),
    constraint notifications_claim check (
        (claim is null) = (claimed_by is null) and (claim is null) = (lease_until is null))
);
create index notifications_ready on notifications (ready_at) where claim is null;
create index notifications_claimed on notifications (lease_until) where claim is not null;

-- Who did what, and why. Rows are written by the statements of the changes; none is ever changed, and they end by age.
create table audit (
    id            bigint generated always as identity primary key,
    user_id       bigint not null references users on delete cascade,
    at            moment not null default clock_timestamp(),
    actor_kind    text not null check (actor_kind in ('key', 'session', 'operator', 'system', 'mcp')),
    actor_id      text,
    actor_name    text,
    action        text not null check (action ~ '^[a-z_]+[.][a-z_]+$'),
    subject_kind  text not null,
    subject_id    text,
    subject_name  text,
    changes       json not null default '[]' check (json_typeof(changes) = 'array'),
    reason        text check (length(reason) <= 500),
    request_id    text,
    address       text
);
create index audit_newest on audit (user_id, id desc);
create index audit_of_subject on audit (user_id, subject_id, id desc);
create index audit_by_actor on audit (user_id, actor_id, id desc) where actor_id is not null;
create index audit_by_action on audit (user_id, action, id desc);
create index audit_age on audit (at);

-- When the mails of the last hour were written, for each user and kind.
create table mail_gates (
    user_id  bigint not null references users on delete cascade,
    kind     notification_kind not null,
    moments  timestamptz[] not null,
    primary key (user_id, kind)
);
create index mail_gates_last on mail_gates ((moments[cardinality(moments)]));

-- Counters that deletes and retention do not touch.
create table usage (
    user_id    bigint not null,
    month      date not null,
    executions counter not null default 0,
    reported   counter not null default 0,
    succeeded  counter not null default 0,
    failed     counter not null default 0,
    primary key (user_id, month)
) with (fillfactor = 50);

-- How many executions have ended in a status, by the five minutes in which they did: what pages count by. Deletes and
-- retention do not touch them. One that leaves its status is taken away again; where that hour was closed meanwhile, a
-- row below 0 waits for the janitor, and the sum of both tables is right all the same.
create table tallies (
    user_id      bigint not null,
    bucket       moment not null,
    status       execution_status not null,
    count        bigint not null,
    unsuccessful bigint not null default 0,         -- delivered, and the outcome says that the work was not done
    lag_sum      bigint not null default 0,         -- milliseconds from the time they were due to their first attempts
    lag_max      counter,                           -- the greatest that was ever counted; null: none has begun
    primary key (user_id, bucket, status)
) with (fillfactor = 50);
create index tallies_age on tallies (bucket);

-- After 8 days they are kept by the hour.
create table hourly_tallies (
    user_id      bigint not null,
    bucket       moment not null,
    status       execution_status not null,
    count        bigint not null,
    unsuccessful bigint not null,
    lag_sum      bigint not null,
    lag_max      counter,
    primary key (user_id, bucket, status)
);
create index hourly_tallies_age on hourly_tallies (bucket);

create function five_minutes(moment timestamptz) returns timestamptz language sql immutable as $$
    select date_bin('5 minutes', moment, '2000-01-01 00:00:00+00')
$$;

-- How late an execution has begun, in milliseconds; null where it has not.
create function lag_of(started timestamptz, scheduled timestamptz) returns bigint language sql immutable as $$
    select greatest(extract(epoch from started - scheduled) * 1000, 0)::bigint
$$;

-- 1 where the last report says that what was delivered has come to nothing.
create function unsuccessful(status text, attempts integer, reported integer, outcome text) returns integer
language sql immutable as $$
    select case when status = 'success' and reported = attempts
                     and outcome in ('reported_failure', 'verification_failed') then 1 else 0 end
$$;

-- An execution as a decision about it needs it, with what its cue says of retries and verification.
create view execution_states as
select e.id, e.user_id, e.claim, e.attempts, e.status, e.outcome_attempt, e.transport, e.claimed_by_worker, e.ready_at,
       e.lost_claims, c.max_attempts, c.backoff_minutes, c.verification,
       -- What such executions are found by.
       e.claimed_at, e.lease_until, e.outcome_deadline_at, e.created_at, c.deleted_at
  from executions e
  join cues c on c.id = e.cue_id;

create function iso(moment timestamptz) returns text language sql stable as $$
    select to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- What the server does by itself, as `write_audit` takes it.
create function system_act() returns json language sql immutable as $$
    select '{"actor": {"kind": "system", "id": null, "name": "CueAPI"}}'::json
$$;

-- Who did it, what, and to what: *act* as the API writes it. The statement of a change reads what this gives.
create function write_audit(whose bigint, act json, what text, its_kind text, its_id text, its_name text,
                            moved json default '[]') returns bigint language sql as $$
    insert into audit (user_id, actor_kind, actor_id, actor_name, action, subject_kind, subject_id, subject_name,
                       changes, reason, request_id, address)
    values (whose, act #>> '{actor,kind}', act #>> '{actor,id}', act #>> '{actor,name}', what, its_kind, its_id,
            its_name, coalesce(moved, '[]'), act ->> 'reason', act ->> 'request_id', act ->> 'address')
    returning id
$$;

-- What a cue that `on_failure` has paused tells of it.
create function pause_reason(execution uuid, reason text) returns text language sql stable as $$
    select format('Paused by on_failure at %s: execution %s has failed for good (%s).', iso(now()), execution,
                  rtrim(coalesce(reason, 'a failure was reported'), '.'))
$$;

-- One alert per user, type and subject in *silence*: who moves the gate's row raises it. Null where it was raised
-- already. Where the user has an alert URL it is posted there.
create function raise_alert(whose bigint, what text, its_subject text, of_cue text, of_execution uuid, told text,
                            detail json, silence interval default '5 minutes') returns uuid language plpgsql as $$
declare
    alert alerts%rowtype;
begin
    insert into alert_gates as g (user_id, alert_type, subject, raised_at) values (whose, what, its_subject, now())
        on conflict (user_id, alert_type, subject) do update
       set raised_at = excluded.raised_at
     where g.raised_at <= now() - silence;
    if not found then
        return null;
    end if;
    insert into alerts (id, user_id, cue_id, execution_id, alert_type, severity, message, metadata)
    values (gen_random_uuid(), whose, of_cue, of_execution, what,
            case when what in ('consecutive_failures', 'verification_failed') then 'warning' else 'critical' end,
            told, detail)
    returning * into alert;
    insert into notifications (kind, user_id, url, content)
    select 'alert_webhook', u.id, u.alert_webhook_url,
           json_build_object('alert_id', alert.id, 'alert_type', what, 'severity', alert.severity, 'message', told,
                             'execution_id', of_execution, 'cue_id', of_cue, 'created_at', iso(alert.created_at),
                             'metadata', detail)
      from users u
     where u.id = whose
       and u.alert_webhook_url is not null;
    return alert.id;
end $$;

-- The number of a mail within the hour: at most ten of a kind go to a user. Null where the tenth was written already.
create function count_mail(whose bigint, what text) returns integer language plpgsql as $$
declare
    number integer;
begin
    insert into mail_gates as g (user_id, kind, moments) values (whose, what, array[now()])
        on conflict (user_id, kind) do update
       set moments = array(select m from unnest(g.moments) m where m > now() - interval '1 hour') || now()
     where (select count(*) from unnest(g.moments) m where m > now() - interval '1 hour') < 10
    returning cardinality(moments) into number;
    return number;
end $$;

-- What `on_failure` asks for: a webhook to *hook*, a mail where the user's address is verified. The tenth mail within
-- an hour says that it is the last.
create function tell_of_failure(whose bigint, hook text, mail boolean, failure jsonb) returns void
language plpgsql as $$
declare
    mails integer;
begin
    if hook is not null then
        insert into notifications (kind, user_id, url, content) values ('failure_webhook', whose, hook, failure::json);
    end if;
    if mail and exists (select from users where id = whose and email_verified_at is not null) then
        mails := count_mail(whose, 'failure_mail');
        if mails is not null then
            insert into notifications (kind, user_id, content)
            values ('failure_mail', whose, (failure || jsonb_build_object('last', mails = 10))::json);
        end if;
    end if;
end $$;

-- Null while the month of *whose* is not spent: it is when the limit is reached, and the 24 hours of grace, which begin
-- with the first call that finds it reached, are over. Else how many alerts this call has raised: one a day says so.
create function check_month(whose bigint, plan_limit bigint) returns integer language plpgsql as $$
declare
    this_month constant date := date_trunc('month', now() at time zone 'utc')::date;
    most bigint;
    until timestamptz;
begin
    select coalesce(u.monthly_execution_limit, plan_limit) into most
      from users u
      left join usage m on m.user_id = u.id and m.month = this_month
     where u.id = whose
       and coalesce(m.executions, 0) >= coalesce(u.monthly_execution_limit, plan_limit);
    if not found then
        return null;
    end if;
    update users set grace_month = this_month, grace_until = now() + interval '24 hours'
     where id = whose
       and grace_month is distinct from this_month;
    select grace_until into until from users where id = whose;
    if until > now() then
        return null;
    end if;
    return count(raise_alert(whose, 'execution_failed', 'monthly_limit', null, null,
                        format('The month''s limit of %s executions is reached: new ones fail until it is over.', most),
                        json_build_object('monthly_execution_limit', most), interval '24 hours'));
end $$;
