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
create domain milliseconds as integer check (value >= 0);                     -- of one attempt
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
create domain reason as text check (length(value) <= 500);                      -- why a change was made

create domain cue_group as text check (value ~ '^[a-z0-9][a-z0-9._-]{0,62}$');
create domain key_scopes as text[] check (
    cardinality(value) > 0 and value <@ array['read', 'fire', 'work', 'write', 'admin']);
create domain key_groups as text[] check (
    cardinality(value) between 1 and 20 and array_to_string(value, ',', ' ')
        ~ '^[a-z0-9][a-z0-9._-]{0,62}(,[a-z0-9][a-z0-9._-]{0,62})*$');
create domain key_name as text check (length(value) between 1 and 100);
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
create domain assertions as json check (
    json_typeof(value) = 'array' and json_array_length(value) between 1 and 10);
create domain verification_on_failed as text check (value in ('keep', 'fail'));
create domain timeout_seconds as integer check (value between 1 and 3600);
create domain outcome_deadline_seconds as integer check (value between 1 and 604800);
create domain max_wait_seconds as integer check (value between 60 and 604800);
create domain target_state as text check (value in ('closed', 'open', 'half_open'));
create domain max_runtime_seconds as integer check (value between 1 and 2592000);

create domain triggered_by as text check (value in ('scheduled', 'manual_fire', 'replay', 'backfill'));
create domain execution_status as text check (
    value in ('pending', 'delivering', 'retrying', 'success', 'failed', 'missed', 'outcome_timeout'));
create domain outcome_state as text check (
    value in ('reported_success', 'reported_failure', 'verified_success', 'verification_failed',
              'verification_pending'));
create domain budget_per as text check (value in ('hour', 'day', 'week', 'month'));
create domain on_limit as text check (value in ('skip', 'pause'));
create domain warn_at as numeric check (value between 0.1 and 1);
create domain cost as numeric check (value >= 0 and value < 1e18);           -- in the user's unit
create domain budget_state as text check (value in ('ok', 'warned', 'reached'));
create domain hold_mode as text check (value in ('fires', 'everything'));
create domain notification_kind as text check (
    value in ('alert_webhook', 'failure_webhook', 'failure_mail', 'sign_in_mail', 'address_mail', 'account_mail',
              'incident_mail', 'recovery_mail', 'channel_message'));
create domain incident_kind as text check (
    value in ('failing', 'late', 'unverified', 'worker_offline', 'target_down', 'set_aside', 'budget',
              'channel_failing'));
create domain severity as text check (value in ('warning', 'critical'));
create domain incident_threshold as smallint check (value between 1 and 720);
create domain renotify_minutes as smallint check (value between 0 and 10080);
create domain notice_event as text check (value in ('opened', 'resolved', 'reminder', 'digest'));
create domain channel_kind as text check (value in ('webhook', 'slack', 'discord', 'ntfy', 'email'));
create domain remark as text check (length(value) <= 500);                     -- what a person says of it
create domain operation_kind as text check (
    value in ('replay', 'dismiss', 'pause', 'resume', 'delete', 'backfill'));
create domain operation_status as text check (value in ('queued', 'running', 'done', 'cancelled', 'failed'));
create domain validation_state as text check (value in ('valid', 'missing', 'rejected'));

create domain progress as double precision check (value between 0 and 1);
create domain progress_message as text check (length(value) <= 200);

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
    reports_valid_from       moment,           -- null: no report token was ended yet
    grace_month              date,
    grace_until              moment,
    revoked_at               moment,
    created_at               moment not null default now(),
    updated_at               moment not null default now()
);
-- In A to Z alone: other letters are folded otherwise in each locale, and some become a letter of these.
create unique index users_email on users (lower(email collate "C"));

-- A row for each text that a key has had: what a rotation has replaced keeps the id of its key.
create table api_keys (
    hash            bytea primary key,              -- SHA-256 of the text, which is kept nowhere readable
    id              text not null check (id ~ '^key_[a-z0-9]{12}$'),
    user_id         bigint not null references users on delete cascade,
    own             boolean not null default false, -- the account's own may do everything
    name            key_name not null,
    prefix          text not null,
    scopes          key_scopes not null,
    groups          key_groups,                     -- null: cues of all groups, and of none
    encrypted       ciphertext,                     -- the account's own can be shown again
    created_at      moment not null default now(),
    expires_at      moment,                         -- null: never
    rotated_at      moment,                         -- until then it serves; for 24 h after it it answers key_rotated
    last_used_at    moment,                         -- to the minute
    last_used_from  session_text
) with (fillfactor = 70);
create unique index api_keys_present on api_keys (id) where rotated_at is null;
create unique index api_keys_own on api_keys (user_id) where own and rotated_at is null;
create index api_keys_of_user on api_keys (user_id, created_at desc, id desc);
create index api_keys_rotated on api_keys (rotated_at) where rotated_at is not null;
create index api_keys_expiry on api_keys (expires_at) where expires_at is not null;

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
create unique index address_links_newest on address_links (user_id, lower(email collate "C"));
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

-- The brake of an account, one row each: in force while *ended_at* is null. `fires` stops what would begin by itself,
-- `everything` also each claim of what has begun. The row of the last one stays: its times are not caught up with.
create table holds (
    user_id   bigint primary key references users on delete cascade,
    mode      hold_mode not null,
    reason    text check (length(reason) <= 500),
    until     moment,                               -- null: until it is released
    since     moment not null default now(),
    actor     json not null,                        -- who has set it
    ended_at  moment,
    eased_at  moment                                -- until when it has stopped claims, where another mode followed
);
create index holds_in_force on holds (user_id) where ended_at is null;
create index holds_until on holds (until) where ended_at is null and until is not null;

-- What a group, or the account, may run in a period of the calendar, in UTC. The row itself counts: who locks it knows
-- what is left.
create table budgets (
    user_id     bigint not null references users on delete cascade,
    scope       text not null check (scope ~ '^(account|group:[a-z0-9][a-z0-9._-]{0,62})$'),
    per         budget_per not null,
    max_runs    counter,
    max_cost    cost,
    on_limit    on_limit not null,
    warn_at     warn_at not null,
    begins_at   moment not null,
    runs        counter not null default 0,
    cost        cost not null default 0,
    told        budget_state not null default 'ok',
    created_at  moment not null default now(),
    updated_at  moment not null default now(),
    primary key (user_id, scope),
    constraint budgets_limit check (max_runs is not null or max_cost is not null)
) with (fillfactor = 50);

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
    assertions            assertions,               -- null: none
    verification_on_failed verification_on_failed not null default 'keep',
    -- Null: the daemon's own.
    timeout_seconds                timeout_seconds,
    outcome_deadline_seconds       outcome_deadline_seconds,
    max_wait_seconds               max_wait_seconds,
    max_runtime_seconds            max_runtime_seconds,   -- null: 7 days
    alert_consecutive_failures     threshold,
    alert_missed_window_multiplier threshold,
    alert_failure_threshold        incident_threshold,
    alert_recovery_threshold       incident_threshold,
    alert_renotify_minutes         renotify_minutes,
    budget_per            budget_per,               -- null: no budget
    budget_max_runs       counter,
    budget_max_cost       cost,
    budget_on_limit       on_limit not null default 'skip',
    budget_warn_at        warn_at not null default 0.8,
    -- The period that was last counted in, what it has used, and what was told of it.
    budget_begins_at      moment,
    budget_runs           counter not null default 0,
    budget_cost           cost not null default 0,
    budget_told           budget_state not null default 'ok',
    warning               text,
    -- Why `on_failure` or a budget has paused it, and when; a change of the status clears it.
    pause_reason          text,
    -- When the status last changed, by whom (as in `audit`: kind, id, name), and why; null: never since it was made.
    status_changed_at     moment,
    status_changed_by     document,
    status_change_reason  reason,
    next_run              moment,
    next_local            reading,                  -- what next_run is when the zone's rules change
    planned_at            moment not null default now(),   -- when next_run was computed
    last_run              moment,
    fired_count           counter not null default 0,
    run_count             counter not null default 0,
    held_count            counter not null default 0,   -- times that came while the account was held, and do not fire
    parked_run            moment,                   -- a one-time cue's time that came so: it fires at the release
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
create index cues_next on cues (user_id, next_run, id)
    where next_run is not null and status = 'active' and deleted_at is null;
create index cues_failing on cues (user_id, id)
    where consecutive_failures > 0 and status in ('active', 'paused') and deleted_at is null;
create index cues_deleted on cues (deleted_at) where deleted_at is not null;
create index cues_with_budget on cues (user_id, id) where budget_per is not null and deleted_at is null;
create index cues_parked on cues (user_id) where parked_run is not null;
create index cues_of_target on cues (user_id, callback_host, status)
    where callback_host is not null and transport = 'webhook' and deleted_at is null;

-- users.live_cues moves where a cue begins or ceases to count, by whatever statement. Of updates once a user for each
-- statement: one batch ends hundreds of one-time cues.
create function counts_as_live(status text, deleted_at timestamptz) returns integer language sql immutable as $$
    select case when deleted_at is null and status in ('active', 'paused') then 1 else 0 end
$$;
create function count_live_cue() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        update users set live_cues = live_cues + 1 where id = new.user_id;
    else
        update users set live_cues = live_cues - 1 where id = old.user_id;
    end if;
    return null;
end $$;
create function count_moved_cues() returns trigger language plpgsql as $$
declare
    whose bigint;
    more  integer;
begin
    for whose, more in
        select user_id, sum(live)
          from (select user_id, counts_as_live(status, deleted_at) as live from after_update
                 union all
                select user_id, -counts_as_live(status, deleted_at) from before_update) moves
         group by user_id
        having sum(live) <> 0
         order by user_id
    loop
        update users set live_cues = live_cues + more where id = whose;
    end loop;
    return null;
end $$;
create trigger cues_live_made after insert on cues for each row
    when (new.deleted_at is null and new.status in ('active', 'paused')) execute function count_live_cue();
create trigger cues_live_gone after delete on cues for each row
    when (old.deleted_at is null and old.status in ('active', 'paused')) execute function count_live_cue();
create trigger cues_live_moved after update on cues
    referencing old table as before_update new table as after_update
    for each statement execute function count_moved_cues();

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
    agent                task,                      -- payload.agent, by which a worker may filter what it claims
    missed_runs          counter not null default 0,
    deferred             boolean not null default false,   -- asked for at a later time, and not begun: a hold stops it
    forced               boolean not null default false,   -- asked for in spite of a hold: none stops it
    late                 boolean not null default false,   -- a hold has stopped it at its time
    outcome_attempt      attempt_number,            -- what the last report fences out: this attempt and those before
    reported_attempt     attempt_number,            -- the attempt that it is about
    counted              boolean not null default false,   -- as good: for the failures in a row, and for incidents
    outcome_success      boolean,
    outcome_result       text,
    outcome_error        text,
    outcome_metadata     json,
    outcome_recorded_at  moment,
    outcome_state        outcome_state,
    outcome_deadline_at  moment,
    -- What the last heartbeat of a handler has told, and of which attempt.
    progress             progress,
    progress_message     progress_message,
    progress_attempt     attempt_number,
    external_id          text,
    result_url           text,
    result_ref           text,
    result_type          text,
    summary              text,
    artifacts            json,
    validation_state     validation_state,
    -- Since when it is a dead letter: it has ended without success, and was neither replayed with success nor dismissed.
    dead_at              moment,
    created_at           moment not null default clock_timestamp(),
    updated_at           moment not null default clock_timestamp()
) with (fillfactor = 85);

-- Where it is made, and not a generated column: PostgreSQL reads the expression of one again with each row of an update.
create function set_agent() returns trigger language plpgsql as $$
begin
    new.agent := case when json_typeof(new.payload -> 'agent') = 'string' and length(new.payload ->> 'agent') <= 255
                      then new.payload ->> 'agent' end;
    return new;
end $$;
create trigger executions_agent before insert on executions for each row when (new.transport = 'worker')
    execute function set_agent();

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
create unique index executions_backfilled_once on executions (cue_id, scheduled_for) where triggered_by = 'backfill';
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
create index executions_deferred on executions (user_id, scheduled_for) where deferred;
create index executions_replays on executions (replayed_from) where replayed_from is not null;
create index executions_unfinished on executions (cue_id) where finished_at is null;
create index executions_finished on executions (finished_at) where finished_at is not null;
create index executions_dead on executions (user_id, id) where dead_at is not null;

-- What an execution is a replay of, and what that one is a replay of in turn.
create function replayed_executions(replay uuid) returns setof uuid language sql stable as $$
    with recursive origins as (
        select replayed_from as id from executions where id = replay
         union
        select e.replayed_from from origins o join executions e on e.id = o.id
    )
    select id from origins where id is not null
$$;

-- Whether a replay of an execution, or a replay of that one, has succeeded.
create function is_replayed_with_success(replayed uuid) returns boolean language sql stable as $$
    with recursive replays as (
        select id, status from executions where replayed_from = replayed
         union
        select e.id, e.status from replays r join executions e on e.replayed_from = r.id
    )
    select exists (select from replays where status || '' = 'success')
$$;

-- They go with their execution.
create table attempts (
    execution_id        uuid not null,
    attempt             integer not null check (attempt between 1 and 1000),
    started_at          moment,
    duration_ms         counter,
    sent_after_ms       milliseconds,               -- until the request went out, and its answer began; null: it did
    first_byte_after_ms milliseconds,               -- not, or it was a worker's
    http_status         http_status,
    error               text,
    outcome             text,
    response_body       response_excerpt,
    primary key (execution_id, attempt)
);

-- What is done to many cues or executions at once, a batch a transaction: the cursor moves with the work.
create table operations (
    id              uuid primary key,               -- UUIDv7
    user_id         bigint not null references users on delete cascade,
    kind            operation_kind not null,
    status          operation_status not null default 'queued',
    scope           document not null,              -- what it goes by: ids, a filter, or times of a cue
    rate            integer not null check (rate between 1 and 1000),     -- a second
    act             document not null,              -- who has begun it, and why
    matched         counter not null,
    matched_capped  boolean not null,
    done            counter not null default 0,
    failed          counter not null default 0,
    skipped         document not null default '{}', -- how many, by reason
    cursor          text,                           -- behind what the next batch goes on; null: at the beginning
    next_at         moment not null default now(),  -- when the next batch may begin
    as_of           moment not null default now(),  -- what is made later does not belong to it
    started_at      moment,
    finished_at     moment,
    constraint operations_finished check ((finished_at is null) = (status in ('queued', 'running')))
);
create index operations_newest on operations (user_id, id desc);
create index operations_open on operations (next_at) where status in ('queued', 'running');
create index operations_running on operations (user_id) where status = 'running';
create index operations_finished on operations (finished_at) where finished_at is not null;

-- What operations have made. One of a backfill that comes to nothing is counted here: its operation's row is locked by
-- the batch under way.
create table operation_executions (
    execution_id   uuid primary key,
    operation_id   uuid not null references operations on delete cascade,
    replayed_from  uuid,
    failed         boolean not null default false,
    unique (operation_id, replayed_from)
);
create index operation_executions_failed on operation_executions (operation_id) where failed;

-- One row for each webhook execution that is not settled: the queue of the dispatcher.
create table outbox (
    execution_id  uuid primary key,
    cue_id        text not null,
    user_id       bigint not null,
    host          text not null,
    ready_at      moment not null,
    deferred      boolean not null default false,   -- as its execution
    forced        boolean not null default false,
    claimed_by    integer,                          -- the daemon
    lease_until   moment,
    waits_until   moment,                           -- it waits for its target, which is down, at most so long
    constraint outbox_claim check ((claimed_by is null) = (lease_until is null))
) with (fillfactor = 85);
-- What waits for its target is in none of the claims' way.
create index outbox_ready on outbox (ready_at) where claimed_by is null and waits_until is null;
create index outbox_waiting on outbox (user_id, host, ready_at) where claimed_by is null and waits_until is not null;
create index outbox_wait_ends on outbox (waits_until) where claimed_by is null and waits_until is not null;
create index outbox_claimed on outbox (claimed_by, lease_until) where claimed_by is not null;
create index outbox_of_cue on outbox (cue_id);

-- Hosts that could not serve what an account sends them; one without a row never was so, and is closed. A state is moved
-- by conditional updates, and the daemon that moves it tells the others.
create table targets (
    user_id        bigint not null references users on delete cascade,
    host           host not null,
    state          target_state not null,
    since          moment not null default now(),    -- when it closed, else when it first opened
    reason         text not null check (length(reason) <= 500),   -- the last failure
    attempts       counter not null,                 -- of the window in which it opened, as the daemon counted
    failures       counter not null,
    opens          counter not null default 1,       -- in a row: it has opened, and each probe has failed
    next_probe_at  moment not null,
    probe          uuid,                             -- half_open: the execution that is the probe, and its claim
    probe_claim    uuid,
    asked_at       moment,                           -- when a person last asked for a probe
    held_until     moment not null default '9999-01-01 00:00:00+00',   -- closed: the end of its slow start
    primary key (user_id, host),
    constraint targets_probe check (
        (state = 'half_open') = (probe is not null) and (probe is null) = (probe_claim is null))
) with (fillfactor = 70);
create index targets_held on targets (held_until);
create index targets_down on targets (user_id, host) where state <> 'closed';

-- Whose deliveries wait, or begin slowly: claims leave them to those who look after targets. A target that closed later
-- than now was closed by a clock that has been set back.
create view held_targets as
select user_id, host from targets where held_until > now() and (state <> 'closed' or since <= now());

-- The targets that deliveries wait for, each found by one look at the index.
create view awaited_targets as
with recursive awaited as (
    (select user_id, host from outbox
      where claimed_by is null and waits_until is not null
      order by user_id, host limit 1)
     union all
    select n.user_id, n.host
      from awaited a
     cross join lateral (select o.user_id, o.host from outbox o
                          where o.claimed_by is null and o.waits_until is not null
                            and (o.user_id, o.host) > (a.user_id, a.host)
                          order by o.user_id, o.host limit 1) n
)
select user_id, host from awaited;

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
                                                      'execution_failed', 'missed_run', 'worker_offline', 'budget_warning',
                                                      'budget_reached')),
    severity      text not null check (severity in ('warning', 'critical')),
    message       text not null,
    metadata      document not null default '{}',
    acknowledged  boolean not null default false,
    incident_id   uuid,                             -- null: it belongs to none
    created_at    moment not null default clock_timestamp()
);
create index alerts_newest on alerts (user_id, created_at desc, id desc);
create index alerts_open_first on alerts (user_id, acknowledged, created_at desc, id desc);
create index alerts_by_type on alerts (user_id, alert_type, created_at desc, id desc);
create index alerts_of_execution on alerts (execution_id) where execution_id is not null;
create index alerts_of_cue on alerts (cue_id, created_at desc, id desc) where cue_id is not null;
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

-- What is wrong with one subject, from the statement that finds it until it ends: a cue, a worker, a target, a budget, a
-- channel. That at most one of a kind is unresolved is how any number of deciders at once open one.
create table incidents (
    id                        uuid primary key,
    user_id                   bigint not null references users on delete cascade,
    kind                      incident_kind not null,
    subject                   text not null,        -- a cue's id, a worker's name, a host, a budget's scope, a channel's id
    name                      text not null,        -- how people call the subject
    severity                  severity not null,
    title                     text not null,
    cue_id                    text,
    opened_in                 cue_group,            -- the group of its cue then
    events                    counter not null default 1,
    recovered                 counter not null default 0,   -- good finals since the last event
    reminders                 counter not null default 0,
    first_execution_id        uuid,
    last_execution_id         uuid,
    resolved_by_execution_id  uuid,
    opened_at                 moment not null default clock_timestamp(),
    acknowledged_at           moment,
    note                      remark,
    snoozed_until             moment,
    remind_at                 moment,               -- null: no reminder is asked for
    resolved_at               moment,
    resolution                remark,               -- why it ended; null: its subject has recovered
    constraint incidents_end check (resolved_at is not null or resolution is null)
) with (fillfactor = 85);
create unique index incidents_unresolved on incidents (user_id, kind, subject) where resolved_at is null;
create index incidents_unresolved_of_cue on incidents (cue_id) where resolved_at is null and cue_id is not null;
create index incidents_newest on incidents (user_id, opened_at desc, id desc);
create index incidents_open on incidents (user_id, opened_at desc, id desc) where resolved_at is null;
create index incidents_by_kind on incidents (user_id, kind, opened_at desc, id desc);
create index incidents_of_cue on incidents (cue_id, opened_at desc, id desc) where cue_id is not null;
create index incidents_reminders on incidents (remind_at) where resolved_at is null and remind_at is not null;
create index incidents_of_workers on incidents (user_id, subject)
    where resolved_at is null and kind = 'worker_offline';
create index incidents_age on incidents (resolved_at) where resolved_at is not null;

-- What no notices are sent of; incidents are kept all the same.
create table mutes (
    user_id     bigint not null references users on delete cascade,
    scope       text not null check (scope in ('account', 'group', 'cue')),
    subject     text not null,                      -- the group, or the cue's id; of the account: ''
    until       moment,                             -- null: until it is deleted
    reason      remark,
    created_at  moment not null default clock_timestamp(),
    primary key (user_id, scope, subject)
);
create index mutes_end on mutes (until) where until is not null;

-- Where a user wants to hear of incidents. URLs, tokens and secrets stand in *config*, encrypted.
create table channels (
    id              uuid primary key,
    user_id         bigint not null references users on delete cascade,
    kind            channel_kind not null,
    name            text not null check (length(name) between 1 and 100),
    shown           text not null,                  -- where it leads; of what is secret no more than may be seen
    topic           text check (topic ~ '^[-_A-Za-z0-9]{1,64}$'),
    has_token       boolean not null default false,
    config          ciphertext not null,
    address         text check (length(address) between 1 and 320),
    confirm_hash    bytea unique,                   -- of the link that shows whose mail box it is
    confirm_until   moment,
    confirmed_at    moment,                         -- null: a mail box of which nothing is known yet
    events          notice_event[] not null,
    min_severity    severity not null default 'warning',
    groups          cue_group[],                    -- null: all
    kinds           incident_kind[],                -- null: all
    digest_at       moment,                         -- when the last digest was due
    failing_since   moment,
    last_error      text,
    disabled_at     moment,
    created_at      moment not null default clock_timestamp(),
    updated_at      moment not null default clock_timestamp(),
    constraint channels_address check ((kind = 'email') = (address is not null))
);
create index channels_of_user on channels (user_id, created_at, id);

-- When the last messages of an event were due on a channel: the newest twenty.
create table channel_gates (
    channel_id  uuid not null references channels on delete cascade,
    event       notice_event not null,
    moments     timestamptz[] not null,
    primary key (channel_id, event)
);

-- Alert webhooks, failure webhooks, mails and messages of channels that are still to go out.
create table notifications (
    id            bigint generated always as identity primary key,
    kind          notification_kind not null,
    user_id       bigint,                           -- null: a sign-in mail to an address that has no account yet
    url           text,                             -- where a webhook goes
    channel_id    uuid references channels on delete cascade,
    incident_id   uuid,
    event         notice_event,
    held          boolean not null default false,   -- it waits to be admitted, alone or within a digest
    content       document not null,
    ready_at      moment not null default now(),
    timed_at      moment not null default now(),    -- when that was set
    attempts      smallint not null default 0 check (attempts >= 0),
    claim         uuid,
    claimed_by    integer,
    lease_until   moment,
    created_at    moment not null default now(),
    constraint notifications_url check ((url is not null) = (kind in ('alert_webhook', 'failure_webhook'))),
    constraint notifications_claim check (
        (claim is null) = (claimed_by is null) and (claim is null) = (lease_until is null)),
    constraint notifications_channel check (
        (kind = 'channel_message') = (channel_id is not null) and (channel_id is null) = (event is null))
);
create index notifications_ready on notifications (ready_at) where claim is null and not held;
create index notifications_held on notifications (channel_id, id) where held;
create unique index notifications_once on notifications (channel_id, incident_id, event)
    where channel_id is not null and incident_id is not null;
create index notifications_digests on notifications (channel_id) where event = 'digest';
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
    reason        reason,
    request_id    text,
    address       text
);
create index audit_newest on audit (user_id, at desc, id desc);
create index audit_of_subject on audit (user_id, subject_id, at desc, id desc) where subject_id is not null;
create index audit_by_actor on audit (user_id, actor_id, at desc, id desc) where actor_id is not null;
create index audit_by_action on audit (user_id, action, at desc, id desc);
-- For the janitor. Not by the column itself: what one account did in a while would be looked for among all accounts' rows.
create index audit_age on audit (greatest(at));

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are not changed', tg_table_name;
end $$;
create trigger audit_is_final before update on audit for each row execute function refuse_change();

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
-- Whether the report token of an attempt has ended since: its account has passed to the owner of the address.
create function is_withdrawn(whose bigint, which uuid, its_attempt integer, last_at timestamptz) returns boolean
language sql stable as $$
    select exists (select from users
                    where id = whose
                      and reports_valid_from > coalesce((select started_at from attempts
                                                          where execution_id = which and attempt = its_attempt), last_at))
$$;

create view execution_states as
select e.id, e.user_id, e.claim, e.attempts, e.status, e.outcome_attempt, e.reported_attempt, e.counted, e.transport, e.claimed_by_worker, e.ready_at,
       e.lost_claims, c.max_attempts, c.backoff_minutes, c.verification, c.assertions, c.verification_on_failed,
       (extract(epoch from now() - e.last_attempt_at) * 1000)::bigint as elapsed_ms, e.last_attempt_at,
       -- What such executions are found by.
       e.claimed_at, e.lease_until, e.outcome_deadline_at, e.created_at, c.deleted_at, e.deferred, e.forced,
       -- What the one who reports by a token is told.
       c.name as cue_name, e.outcome_state, e.finished_at
  from executions e
  join cues c on c.id = e.cue_id;

create function iso(moment timestamptz) returns text language sql stable as $$
    select to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- What the server does by itself, and *why*, as `write_audit` takes it.
create function system_act(why text default null) returns json language sql stable as $$
    select json_build_object('actor', json_build_object('kind', 'system', 'id', null, 'name', 'CueAPI'),
                             'reason', left(why, 500))
$$;

-- URLs without passwords, and without the values of parameters that are named like secrets: as domain/masking.py.
create function without_secrets(url text) returns text language sql immutable as $$
    select regexp_replace(
        regexp_replace(url, '([a-z][a-z0-9+.-]*://)[^/?#\s]*@', '\1••••••@', 'gi'),
        '([?&][^=&#\s]*(auth|cookie|key|token|secret|passw|pwd?(?![a-z])|credential|session|sig)[^=&#\s]*=)[^&#\s]*',
        '\1••••••', 'gi')
$$;

-- What has become of one field, as `write_audit` takes it; null where it is as before.
create function field_change(path text, before anyelement, after anyelement) returns json language sql stable as $$
    select json_build_object('path', path, 'from', before, 'to', after) where before is distinct from after
$$;

create function url_change(path text, before text, after text) returns json language sql stable as $$
    select json_build_object('path', path, 'from', without_secrets(before), 'to', without_secrets(after))
     where before is distinct from after
$$;

-- The changes of some fields; null where none has changed.
create function changes_of(variadic changes json[]) returns json language sql immutable as $$
    select json_agg(one order by number) from unnest(changes) with ordinality x(one, number) where one is not null
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

-- Whether *whose* account is held now: by `everything`, or (`fires`) by any hold.
create function is_held(whose bigint, what text default 'fires') returns boolean language sql stable as $$
    select exists (select from holds
                    where user_id = whose and ended_at is null and (until is null or until > now())
                      and (what = 'fires' or mode = what))
$$;

-- A status that is changed without a word of who did it was changed by the server.
create function tell_of_status() returns trigger language plpgsql as $$
begin
    if new.status_changed_at is not distinct from old.status_changed_at then
        new.status_changed_at := clock_timestamp();
        new.status_changed_by := system_act() -> 'actor';
        new.status_change_reason := left(case when new.status = 'paused' then new.pause_reason
                                              when new.warning is distinct from old.warning then new.warning end, 500);
    end if;
    return new;
end $$;
create trigger cues_status_changed before update on cues for each row when (old.status <> new.status)
    execute function tell_of_status();

-- What a cue that `on_failure` has paused tells of it.
create function pause_reason(execution uuid, reason text) returns text language sql stable as $$
    select format('Paused by on_failure at %s: execution %s has failed for good (%s).', iso(now()), execution,
                  rtrim(coalesce(reason, 'a failure was reported'), '.'))
$$;

-- One alert per user, type and subject in *silence*: who moves the gate's row raises it. Null where it was raised
-- already. Where the user has an alert URL it is posted there.
create function raise_alert(whose bigint, what text, its_subject text, of_cue text, of_execution uuid, told text,
                            detail json, silence interval default '5 minutes', of_incident uuid default null)
returns uuid language plpgsql as $$
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
    insert into alerts (id, user_id, cue_id, execution_id, alert_type, severity, message, metadata, incident_id)
    values (gen_random_uuid(), whose, of_cue, of_execution, what,
            case when what in ('consecutive_failures', 'verification_failed', 'budget_warning') then 'warning'
                 else 'critical' end,
            told, detail, of_incident)
    returning * into alert;
    insert into notifications (kind, user_id, url, content)
    select 'alert_webhook', u.id, u.alert_webhook_url,
           json_build_object('alert_id', alert.id, 'alert_type', what, 'severity', alert.severity, 'message', told,
                             'execution_id', of_execution, 'cue_id', of_cue, 'created_at', iso(alert.created_at),
                             'metadata', detail, 'incident_id', of_incident)
      from users u
     where u.id = whose
       and u.alert_webhook_url is not null;
    return alert.id;
end $$;

-- When the period of a budget began in which *moment* lies, and when it ends: by the calendar of *zone*; weeks begin on
-- Monday. A zone that PostgreSQL does not know counts as UTC.
create function budget_begin(per text, zone text, moment timestamptz default now()) returns timestamptz
language plpgsql stable as $$
begin
    return date_trunc(per, moment, zone);
exception when invalid_parameter_value then
    return date_trunc(per, moment, 'UTC');
end $$;

-- From when a count is kept that began at *begins*, where another period takes the place of its own: what was used of the
-- present one counts for the new one, too, so that by no change more is used than either allows.
create function budget_kept_from(begins timestamptz, was text, was_zone text, per text, zone text)
returns timestamptz language sql stable as $$
    select greatest(begins, case when begins >= budget_begin(was, was_zone) then budget_begin(per, zone) end)
$$;

create function budget_end(per text, zone text, moment timestamptz default now()) returns timestamptz
language plpgsql stable as $$
begin
    if per = 'hour' then
        return budget_begin(per, zone, moment) + interval '1 hour';
    end if;
    return (date_trunc(per, moment at time zone zone) + ('1 ' || per)::interval) at time zone zone;
exception when invalid_parameter_value then
    return budget_end(per, 'UTC', moment);
end $$;

-- What a budget comes to with that use.
create function budget_state(runs bigint, cost numeric, max_runs bigint, max_cost numeric, warn_at numeric) returns text
language sql immutable as $$
    select case when runs >= max_runs or cost >= max_cost then 'reached'
                when runs >= warn_at * max_runs or cost >= warn_at * max_cost then 'warned'
                else 'ok' end
$$;

-- What was told of a budget stays told within its period.
create function higher_state(one text, other text) returns text language sql immutable as $$
    select case when 'reached' in (one, other) then 'reached' when 'warned' in (one, other) then 'warned' else 'ok' end
$$;

-- The sentence of what a budget has stopped.
create function budget_sentence(per text, max_runs bigint, max_cost numeric, used_cost numeric, ends timestamptz)
returns text language sql stable as $$
    select format('Budget of %s %s is reached; next period %s',
                  case when used_cost >= max_cost then 'cost ' || trim_scale(max_cost)
                       when max_runs = 1 then '1 run' else max_runs || ' runs' end,
                  case per when 'hour' then 'an hour' else 'a ' || per end,
                  to_char(ends at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
$$;

-- Tell of what a budget has come to, once a period: *was* is what was told last, *told* what of that is of this period,
-- *state* what it has come to now. The type of the alert that it raises; null: none.
create function tell_of_budget(whose bigint, scope text, of_cue text, was text, told text, state text, per text,
                               runs bigint, cost numeric, max_runs bigint, max_cost numeric, begins timestamptz,
                               ends timestamptz) returns text language plpgsql as $$
declare
    subject constant text := coalesce(of_cue, scope);
    is_reached constant boolean := state = 'reached';
    what constant text := case when is_reached then 'budget_reached' else 'budget_warning' end;
    sentence text;
    owner text;
    incident uuid;
begin
    if was = 'reached' and told = 'ok' then
        perform resolve_incident(whose, 'budget', subject);
    end if;
    if state = told then
        return null;
    end if;
    if is_reached then
        sentence := budget_sentence(per, max_runs, max_cost, cost, ends);
        owner := coalesce((select name from cues where id = of_cue), scope);
        incident := open_incident(whose, 'budget', subject, owner, format('%s (%s)', sentence, owner), 'critical', of_cue);
    else
        sentence := format('%s used; next period %s',
                           concat_ws(', ', runs || ' of ' || max_runs || ' runs',
                                     'cost ' || trim_scale(cost) || ' of ' || trim_scale(max_cost)),
                           to_char(ends at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    end if;
    return case when raise_alert(whose, what, scope || ' ' || iso(begins), of_cue, null,
                                 format('%s (%s).', sentence, scope),
                                 json_build_object('scope', scope, 'used_runs', runs, 'used_cost', cost,
                                                   'max_runs', max_runs, 'max_cost', max_cost, 'resets_at', iso(ends)),
                                 of_incident => incident) is not null then what end;
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

-- Whether no notices are to be sent: of the account, of a group (where it is not given: the cue's), or of the cue.
create function is_muted(whose bigint, of_cue text, of_group text default null) returns boolean
language sql stable as $$
    select exists (select from mutes m
                    where m.user_id = whose
                      and (m.until is null or m.until > now())
                      and (m.scope = 'account'
                           or m.scope = 'cue' and m.subject = of_cue
                           or m.scope = 'group' and m.subject = coalesce(of_group,
                                                                 (select group_name from cues where id = of_cue))))
$$;

-- What `on_failure` asks for: a webhook to *hook*, a mail where the user's address is verified and nothing mutes it. The
-- tenth mail within an hour says that it is the last; after it there is one of each incident that a failure has just
-- opened. The mail names the incident that the failure belongs to.
create function tell_of_failure(whose bigint, hook text, mail boolean, failure jsonb, of_incident uuid default null)
returns void language plpgsql as $$
declare
    mails integer;
    begun incidents%rowtype;
begin
    if hook is not null then
        insert into notifications (kind, user_id, url, content) values ('failure_webhook', whose, hook, failure::json);
    end if;
    if mail and exists (select from users where id = whose and email_verified_at is not null)
       and not is_muted(whose, failure ->> 'cue_id') then
        mails := count_mail(whose, 'failure_mail');
        if mails is not null then
            insert into notifications (kind, user_id, content)
            select 'failure_mail', whose,
                   (failure || jsonb_build_object('last', mails = 10, 'incident_id', of_incident,
                                                  'since', (select iso(opened_at) from incidents
                                                             where id = of_incident)))::json;
        else
            -- Others of the same transaction may have counted on it since.
            select * into begun
              from incidents
             where id = of_incident
               and first_execution_id is not distinct from (failure ->> 'execution_id')::uuid
               and opened_at >= now();
            if found then
                perform mail_of_incident(begun, 'opened');
            end if;
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

-- What an incident is about.
create function subject_kind(kind text, subject text) returns text language sql immutable as $$
    select case when kind in ('failing', 'late', 'unverified', 'set_aside') then 'cue'
                when kind = 'worker_offline' then 'worker'
                when kind = 'target_down' then 'target'
                when kind = 'channel_failing' then 'channel'
                when subject = 'account' then 'account'
                when subject like 'group:%' then 'group'
                else 'cue' end
$$;

-- What is snoozed is open again at the end of its time.
create function incident_status(resolved_at timestamptz, snoozed_until timestamptz) returns text
language sql stable as $$
    select case when resolved_at is not null then 'resolved'
                when snoozed_until > now() then 'snoozed'
                else 'open' end
$$;

-- An incident as the API shows it.
create function incident_json(one incidents) returns json language sql stable as $$
    select json_build_object(
        'id', one.id, 'kind', one.kind, 'severity', one.severity, 'title', one.title, 'cue_id', one.cue_id,
        'subject', json_build_object('kind', subject_kind(one.kind, one.subject), 'id', one.subject, 'name', one.name),
        'status', incident_status(one.resolved_at, one.snoozed_until), 'opened_at', iso(one.opened_at),
        'acknowledged_at', iso(one.acknowledged_at), 'note', one.note,
        'snoozed_until', case when one.snoozed_until > now() then iso(one.snoozed_until) end,
        'resolved_at', iso(one.resolved_at), 'resolution', one.resolution, 'events', one.events,
        'first_execution_id', one.first_execution_id, 'last_execution_id', one.last_execution_id,
        'resolved_by_execution_id', one.resolved_by_execution_id)
$$;

-- The group that an incident is of: its cue's, or that of the budget which it is about.
create function incident_group(one incidents) returns text language sql stable as $$
    select case when one.kind = 'budget' and one.subject like 'group:%' then substr(one.subject, 7)
                else (select group_name from cues where id = one.cue_id) end
$$;

-- What notifications hold of an event of an incident.
create function incident_event(one incidents, what text) returns json language sql stable as $$
    select json_build_object('event', 'incident.' || what, 'incident', incident_json(one), 'number', one.reminders)
$$;

-- Tells the account's verified address of the begin and of the end, by at most ten mails of each an hour, unless an
-- e-mail channel leads there. A cue whose `on_failure.email` is false has none.
create function mail_of_incident(one incidents, what text) returns void language plpgsql as $$
declare
    mail constant text := case what when 'opened' then 'incident_mail' when 'resolved' then 'recovery_mail' end;
begin
    if mail is not null and exists (
        select from users u
         where u.id = one.user_id
           and u.email_verified_at is not null
           and not exists (select from cues q where q.id = one.cue_id and not q.on_failure_email)
           and not exists (select from channels c
                            where c.user_id = u.id and lower(c.address collate "C") = lower(u.email collate "C")
                              and c.confirmed_at is not null and c.disabled_at is null and what = any (c.events::text[]))
    ) and count_mail(one.user_id, mail) is not null then
        insert into notifications (kind, user_id, incident_id, content)
        values (mail, one.user_id, one.id, incident_event(one, what));
    end if;
end $$;

-- Tells the channels of the user that want to hear of it, and (where *by_mail*) the account's address. Where a mute is in
-- force nothing is told.
create function tell_of_incident(one incidents, what text, by_mail boolean default true) returns void
language plpgsql as $$
begin
    if is_muted(one.user_id, one.cue_id, incident_group(one)) then
        return;
    end if;
    insert into notifications (kind, user_id, channel_id, incident_id, event, held, content)
    select 'channel_message', one.user_id, c.id, one.id, what, true, incident_event(one, what)
      from (select id
              from channels
             where user_id = one.user_id
               and disabled_at is null
               and confirmed_at is not null
               and what = any (events::text[])
               and (min_severity = 'warning' or one.severity = 'critical')
               and (kinds is null or one.kind = any (kinds::text[]))
               -- The end is told also to those who were told of the begin, before its cue changed its group.
               and (groups is null or incident_group(one) = any (groups::text[])
                    or what = 'resolved' and one.opened_in = any (groups::text[]))
             order by id
               -- One that is being deleted is waited for, and is then no longer there.
               for key share) c
        on conflict (channel_id, incident_id, event) where channel_id is not null and incident_id is not null
        do nothing;
    if by_mail then
        perform mail_of_incident(one, what);
    end if;
end $$;

-- Opens an incident, or counts one event more of the one that is unresolved; its id. The begin is told once. *named* is
-- how people call the subject, *told* the title. Without *by_mail* tell_of_failure tells of the begin.
create function open_incident(whose bigint, what text, its_subject text, named text, told text, how_bad text,
                              of_cue text default null, of_execution uuid default null, by_mail boolean default true)
returns uuid language plpgsql as $$
declare
    one incidents%rowtype;
begin
    insert into incidents as i (id, user_id, kind, subject, name, severity, title, cue_id, opened_in, first_execution_id,
                                last_execution_id, remind_at)
    values (gen_random_uuid(), whose, what, its_subject, named, how_bad, left(rtrim(told, '.'), 300), of_cue,
            (select group_name from cues where id = of_cue), of_execution, of_execution,
            (select now() + alert_renotify_minutes * interval '1 minute' from cues
              where id = of_cue and alert_renotify_minutes > 0))
        on conflict (user_id, kind, subject) where resolved_at is null do update
       set events = i.events + 1, recovered = 0,
           last_execution_id = coalesce(excluded.last_execution_id, i.last_execution_id)
    returning * into one;
    if one.events = 1 then
        perform tell_of_incident(one, 'opened', by_mail);
    end if;
    return one.id;
end $$;

-- Ends the unresolved incident of a subject; its id, null where there is none. *why*: what its title then says, as `the
-- cue was paused`; null: the subject has recovered. *which*: where given, that incident alone.
create function resolve_incident(whose bigint, what text, its_subject text, why text default null,
                                 by_execution uuid default null, which uuid default null) returns uuid
language plpgsql as $$
declare
    one incidents%rowtype;
begin
    update incidents
       set resolved_at = clock_timestamp(), resolution = why, resolved_by_execution_id = by_execution,
           title = case when why is null then title else format('%s (%s)', title, why) end
     where user_id = whose and kind = what and subject = its_subject and resolved_at is null
       and (which is null or id = which)
    returning * into one;
    if one.id is not null then
        perform tell_of_incident(one, 'resolved');
    end if;
    return one.id;
end $$;

-- One failure more of a cue, the *failures*-th in a row: its incident opens at the threshold. What had begun to recover
-- begins anew.
create function note_failure(whose bigint, of_cue text, of_execution uuid, failures bigint, told text, by_mail boolean)
returns uuid language plpgsql as $$
declare
    cue record;
begin
    update incidents set recovered = 0 where cue_id = of_cue and resolved_at is null and recovered > 0;
    select name, coalesce(alert_failure_threshold, 1) as needed into cue from cues where id = of_cue;
    if failures >= cue.needed
       or exists (select from incidents
                   where user_id = whose and kind = 'failing' and subject = of_cue and resolved_at is null) then
        return open_incident(whose, 'failing', of_cue, cue.name, format('%s is failing: %s', cue.name, told), 'critical',
                             of_cue, of_execution, by_mail);
    end if;
    return null;
end $$;

-- Counts executions of a cue that did well, in the order of their ids, towards the end of its incidents; how many have
-- ended. *reported* are those that came with a report and its evidence; one of them that counted before, since it owed no
-- report, is not among the *good*.
create function recover_incidents(of_cue text, good uuid[], reported uuid[]) returns integer language plpgsql as $$
declare
    one incidents%rowtype;
    ended integer := 0;
begin
    for one in
        update incidents i
           set recovered = i.recovered + cardinality(m.counted),
               resolved_at = case when i.recovered + cardinality(m.counted) >= m.needed and m.may_end
                                  then clock_timestamp() end,
               resolved_by_execution_id = case when m.may_end then m.counted[greatest(m.needed - i.recovered, 1)] end
          from (select u.id,
                       coalesce((select alert_recovery_threshold from cues where id = of_cue), 1) as needed,
                       array(select g from unnest(case when u.kind = 'unverified' then reported else good end) g
                              -- The firing that was late does not end that it was.
                              where u.kind <> 'late' or u.last_execution_id is null or g > u.last_execution_id
                              order by g) as counted,
                       -- Evidence of an earlier one does not end it while later ones lack theirs.
                       u.kind <> 'unverified' or u.last_execution_id < any (reported)
                           or not exists (select from executions e
                                           where e.user_id = u.user_id
                                             and e.outcome_state = 'verification_failed'
                                             and e.cue_id = of_cue
                                             and e.id >= u.first_execution_id
                                             and e.id <> all (reported)) as may_end
                  from incidents u
                 where u.cue_id = of_cue
                   and u.resolved_at is null
                   and u.kind in ('failing', 'late', 'unverified', 'set_aside')) m
         where i.id = m.id
           and i.resolved_at is null
           and cardinality(m.counted) > 0
     returning i.*
    loop
        if one.resolved_at is not null then
            perform tell_of_incident(one, 'resolved');
            ended := ended + 1;
        end if;
    end loop;
    return ended;
end $$;

-- A cue that a person has paused, or deleted, has no incident any more. One that `on_failure` has paused has: it is why.
create function end_incidents_of_cue() returns trigger language plpgsql as $$
begin
    perform resolve_incident(i.user_id, i.kind, i.subject,
                             case when new.deleted_at is null then 'the cue was paused' else 'the cue was deleted' end)
       from (select * from incidents
              where cue_id = new.id
                and resolved_at is null
                and (new.deleted_at is not null or kind in ('failing', 'late', 'unverified', 'set_aside'))
              order by id) i;
    return null;
end $$;
create trigger cues_incidents_ended after update on cues for each row
    when (new.deleted_at is not null and old.deleted_at is null
          or new.status = 'paused' and old.status <> 'paused' and new.pause_reason is null)
    execute function end_incidents_of_cue();

-- What is unresolved and was not acknowledged is told of again as its cue says now. What opens an incident of a cue has
-- locked the cue before, as its change has: neither misses the other.
create function change_reminders() returns trigger language plpgsql as $$
begin
    update incidents
       set remind_at = case when new.alert_renotify_minutes > 0
                            then greatest(now() + new.alert_renotify_minutes * interval '1 minute', snoozed_until) end
     where cue_id = new.id
       and resolved_at is null
       and acknowledged_at is null;
    return null;
end $$;
create trigger cues_reminders_changed after update of alert_renotify_minutes on cues for each row
    when (new.alert_renotify_minutes is distinct from old.alert_renotify_minutes)
    execute function change_reminders();

-- Whether a user may have one channel more. The user's row is locked: of any number at once no more are made.
create function has_channel_room(whose bigint) returns boolean language plpgsql as $$
begin
    perform from users where id = whose and revoked_at is null for no key update;
    return found and (select count(*) from channels where user_id = whose) < 20;
end $$;

-- Whether a user may have this mute; one that is there already is replaced, and one that has ended is none. The user's row
-- is locked: of any number at once no more are made.
create function has_mute_room(whose bigint, of_scope text, of_subject text) returns boolean language plpgsql as $$
begin
    perform from users where id = whose and revoked_at is null for no key update;
    if not found then
        return false;
    end if;
    delete from mutes
     where user_id = whose and until <= now() and (scope, subject) is distinct from (of_scope, of_subject);
    return (select count(*) from mutes
             where user_id = whose and (scope, subject) is distinct from (of_scope, of_subject)) < 1000;
end $$;

-- Whether the user may have a worker of that name, asked where it has none. Only where it has 1,000 others do those make
-- room that were silent for a day: names that are made up at each start must not use up what there is.
create function has_worker_room(whose bigint, of_name text) returns boolean language plpgsql as $$
begin
    perform from users where id = whose and revoked_at is null for no key update;
    if not found then
        return false;
    end if;
    if (select count(*) from workers where user_id = whose and worker_id <> of_name) < 1000 then
        return true;
    end if;
    delete from workers where user_id = whose and worker_id <> of_name and last_heartbeat < now() - interval '1 day';
    return found;
end $$;

-- Tells once more of what is open, where its cue asks for that and its time has come; of whose incidents.
create function remind_of_incidents() returns setof bigint language plpgsql as $$
declare
    one incidents%rowtype;
begin
    for one in
        update incidents i
           -- Null where no cue asks for it any more: what cannot be told of again must not hold others back.
           set remind_at = now() + (select nullif(alert_renotify_minutes, 0) from cues where id = i.cue_id)
                                   * interval '1 minute',
               reminders = i.reminders + 1
         where i.id = any (array(select id from incidents
                                  where resolved_at is null and remind_at <= now()
                                  order by remind_at
                                  limit 500
                                    for update skip locked))
     returning i.*
    loop
        if one.remind_at is not null then
            perform tell_of_incident(one, 'reminder');
            return next one.user_id;
        end if;
    end loop;
end $$;

-- Of what waits of one event on a channel, admits what makes no more than twenty in 5 minutes; how much waited, and the
-- *rest*, which was not admitted. The channel's row is locked.
create function admit_event(which uuid, what text, out waiting bigint, out rest bigint[]) language plpgsql as $$
declare
    recent timestamptz[] := array(select m from channel_gates g, unnest(g.moments) m
                                   where g.channel_id = which and g.event = what and m > now() - interval '5 minutes'
                                   order by m);
    room integer := greatest(20 - cardinality(recent), 0);
    found_ids bigint[] := array(select id from notifications
                                 where held and channel_id = which and event = what order by id);
begin
    waiting := cardinality(found_ids);
    rest := found_ids[room + 1:];
    if waiting > 0 then
        update notifications set held = false where id = any (found_ids[:room]);
        recent := recent || array(select now() from unnest(found_ids) limit 20);
        insert into channel_gates (channel_id, event, moments)
        values (which, what, recent[greatest(cardinality(recent) - 19, 1):])
            on conflict (channel_id, event) do update set moments = excluded.moments;
    end if;
end $$;

-- What is beyond that, the *beyond*, becomes one digest, which grows until it is claimed. What came to wait meanwhile is
-- not of it: the next admission finds that.
create function fold_messages(channel channels, beyond bigint[]) returns void language plpgsql as $$
declare
    folded record;
    due timestamptz := greatest(now() + interval '20 seconds', channel.digest_at + interval '5 minutes');
begin
    with rest as (
        delete from notifications where id = any (beyond) returning id, event, content
    )
    select count(*) as all_of_them, count(*) filter (where event = 'opened') as opened,
           count(*) filter (where event = 'resolved') as resolved, count(*) filter (where event = 'reminder') as reminders,
           -- Of what is over, that it is.
           (array_agg(case when event = 'resolved' then (content #>> '{incident,subject,name}') || ' recovered'
                           else content #>> '{incident,title}' end order by event, id))[1:10] as titles
      into folded
      from rest;
    if folded.all_of_them = 0 or 'digest' <> all (channel.events::text[]) then
        return;
    end if;
    update notifications n
       set content = json_build_object(
               'event', 'incident.digest', 'since', n.content -> 'since',
               'opened', (n.content ->> 'opened')::bigint + folded.opened,
               'resolved', (n.content ->> 'resolved')::bigint + folded.resolved,
               'reminders', (n.content ->> 'reminders')::bigint + folded.reminders,
               'titles', to_json((array(select json_array_elements_text(n.content -> 'titles')) || folded.titles)[1:10]))
     where n.channel_id = channel.id and n.event = 'digest' and n.claim is null and n.attempts = 0;
    if not found then
        insert into notifications (kind, user_id, channel_id, event, ready_at, content)
        values ('channel_message', channel.user_id, channel.id, 'digest', due,
                json_build_object('event', 'incident.digest', 'since', iso(now()), 'opened', folded.opened,
                                  'resolved', folded.resolved, 'reminders', folded.reminders,
                                  'titles', to_json(folded.titles)));
        update channels set digest_at = due where id = channel.id;
    end if;
end $$;

-- Admits what channels are to be told: of each event twenty in 5 minutes one by one. From the 21st on there is one
-- digest, within a minute, and one in each 5 minutes after it. How many messages were waiting.
create function admit_messages() returns bigint language plpgsql as $$
declare
    channel channels%rowtype;
    what text;
    one record;
    beyond bigint[];
    waiting bigint := 0;
begin
    for channel in
        select * from channels
         where id in (select channel_id from notifications where held)
         order by id
           for no key update skip locked
    loop
        beyond := '{}';
        foreach what in array array['opened', 'resolved', 'reminder'] loop
            select * into one from admit_event(channel.id, what);
            waiting := waiting + one.waiting;
            beyond := beyond || one.rest;
        end loop;
        perform fold_messages(channel, beyond);
    end loop;
    return waiting;
end $$;
