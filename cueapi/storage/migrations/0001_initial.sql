-- The whole schema. PostgreSQL is the truth: what the API answered 2xx for is stored here.
--
-- The database says no: states, ranges and shapes are typed columns with CHECKs, so that no reader needs to guard
-- against a row that was edited in SQL. Each table has one CHECK over its moments, which must lie within the years 1 to
-- 9999 (`least` and `greatest` pass over nulls): what Python's datetime cannot hold, `infinity` included, is refused.

create table meta (
    key    text primary key,
    value  text not null
);

create table users (
    id                       bigint generated always as identity primary key,
    email                    text not null check (length(email) between 1 and 320),
    plan                     text not null check (plan <> ''),
    active_cue_limit         integer check (active_cue_limit >= 0),          -- null: the plan's
    monthly_execution_limit  bigint check (monthly_execution_limit >= 0),    -- null: the plan's
    rate_limit_per_minute    integer check (rate_limit_per_minute >= 0),     -- null: the plan's
    -- Active and paused; kept by the trigger below.
    live_cues                integer not null default 0 check (live_cues >= 0),
    webhook_secret           text not null check (webhook_secret ~ '^whsec_[0-9a-f]{64}$'),
    previous_webhook_secret  text check (previous_webhook_secret ~ '^whsec_[0-9a-f]{64}$'),
    previous_secret_until    timestamptz,
    alert_webhook_url        text check (length(alert_webhook_url) between 1 and 2048),
    alert_webhook_secret     text check (alert_webhook_secret ~ '^[0-9a-f]{64}$'),
    sessions_valid_from      timestamptz,           -- null: no session was ended yet
    grace_month              date,
    grace_until              timestamptz,
    revoked_at               timestamptz,
    created_at               timestamptz not null default now(),
    updated_at               timestamptz not null default now(),
    constraint users_moments check (
        least(previous_secret_until, sessions_valid_from, grace_until, revoked_at, created_at, updated_at)
            >= '0001-01-01 00:00:00+00'
        and greatest(previous_secret_until, sessions_valid_from, grace_until, revoked_at, created_at, updated_at)
            < '10000-01-01 00:00:00+00')
);
create unique index users_email on users (lower(email));

create table api_keys (
    hash        bytea primary key,                  -- SHA-256; the key itself is kept nowhere readable
    user_id     bigint not null references users on delete cascade,
    prefix      text not null,
    encrypted   bytea,                              -- under a key derived from SESSION_SECRET
    created_at  timestamptz not null default now(),
    rotated_at  timestamptz,                        -- for 24 h it answers key_rotated
    constraint api_keys_moments check (
        least(created_at, rotated_at) >= '0001-01-01 00:00:00+00'
        and greatest(created_at, rotated_at) < '10000-01-01 00:00:00+00')
);
create unique index api_keys_one_live on api_keys (user_id) where rotated_at is null;
create index api_keys_rotated on api_keys (rotated_at) where rotated_at is not null;

create table session_tokens (
    hash        bytea primary key,
    user_id     bigint not null references users on delete cascade,
    expires_at  timestamptz not null,
    constraint session_tokens_moments check (
        expires_at >= '0001-01-01 00:00:00+00' and expires_at < '10000-01-01 00:00:00+00')
);
create index session_tokens_expiry on session_tokens (expires_at);

create table device_codes (
    code          text primary key,
    status        text not null check (status in ('pending', 'email_sent', 'approved', 'claimed')),
    email         text,
    user_id       bigint references users on delete cascade,
    new_user      boolean not null default false,
    token_hash    bytea unique,
    expires_at    timestamptz not null,
    created_at    timestamptz not null default now(),
    constraint device_codes_moments check (
        least(expires_at, created_at) >= '0001-01-01 00:00:00+00'
        and greatest(expires_at, created_at) < '10000-01-01 00:00:00+00')
);
create index device_codes_expiry on device_codes (expires_at);
create index device_codes_user on device_codes (user_id) where user_id is not null;

create table idempotency_keys (
    user_id     bigint not null references users on delete cascade,
    method      text not null,
    path        text not null,
    key         text not null,
    body_hash   bytea not null,
    status      smallint not null check (status between 100 and 999),
    answer      text not null,
    created_at  timestamptz not null default now(),
    primary key (user_id, key, path, method),
    constraint idempotency_keys_moments check (
        created_at >= '0001-01-01 00:00:00+00' and created_at < '10000-01-01 00:00:00+00')
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table echoes (
    token        text primary key,
    payload      json not null,
    headers      json not null,
    received_at  timestamptz not null default now(),
    expires_at   timestamptz not null,
    constraint echoes_moments check (
        least(received_at, expires_at) >= '0001-01-01 00:00:00+00'
        and greatest(received_at, expires_at) < '10000-01-01 00:00:00+00')
);
create index echoes_expiry on echoes (expires_at);

create table cues (
    id                    text primary key check (length(id) between 1 and 64),
    user_id               bigint not null references users on delete cascade,
    name                  text not null check (length(name) between 1 and 255),
    description           text,
    group_name            text check (group_name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    status                text not null check (status in ('active', 'paused', 'completed', 'failed')),
    transport             text not null check (transport in ('webhook', 'worker')),
    schedule_type         text not null check (schedule_type in ('recurring', 'once')),
    cron                  text check (length(cron) between 1 and 255),
    schedule_at           timestamptz,
    timezone              text not null check (length(timezone) between 1 and 255),
    catchup               text not null check (catchup in ('latest', 'all', 'none')),
    overlap               text not null check (overlap in ('allow', 'skip')),
    callback_url          text check (length(callback_url) between 1 and 2048),
    callback_method       text not null check (callback_method in ('POST', 'GET', 'PUT', 'PATCH')),
    callback_headers      json not null,
    callback_host         text check (length(callback_host) between 1 and 300),   -- host:port, what fairness counts by
    payload               json not null check (json_typeof(payload) = 'object'),  -- as json.dumps(sort_keys=True) writes it
    task                  text check (length(task) <= 255),   -- payload.task, where it is a string
    max_attempts          smallint not null check (max_attempts between 1 and 11),
    backoff_minutes       integer[] not null,
    on_failure_email      boolean not null default true,
    on_failure_webhook    text check (length(on_failure_webhook) between 1 and 2048),
    on_failure_pause      boolean not null default false,
    verification          text not null check (verification in
                              ('none', 'require_external_id', 'require_result_url', 'require_artifacts', 'manual')),
    -- Null: the daemon's own.
    timeout_seconds                integer check (timeout_seconds between 1 and 3600),
    outcome_deadline_seconds       integer check (outcome_deadline_seconds between 1 and 604800),
    alert_consecutive_failures     smallint check (alert_consecutive_failures between 1 and 100),
    alert_missed_window_multiplier smallint check (alert_missed_window_multiplier between 1 and 100),
    warning               text,
    next_run              timestamptz,
    last_run              timestamptz,
    fired_count           bigint not null default 0 check (fired_count >= 0),
    run_count             bigint not null default 0 check (run_count >= 0),
    consecutive_failures  bigint not null default 0 check (consecutive_failures >= 0),
    revision              bigint not null default 0 check (revision >= 0),   -- moves with schedule and status: a fence
    created_at            timestamptz not null default statement_timestamp(),
    updated_at            timestamptz not null default statement_timestamp(),
    deleted_at            timestamptz,
    constraint cues_schedule check (
        (schedule_type = 'recurring') = (cron is not null) and (schedule_type = 'once') = (schedule_at is not null)),
    constraint cues_callback check (
        transport = 'worker' or callback_url is not null and callback_host is not null),
    constraint cues_callback_headers check (
        json_typeof(callback_headers) = 'object'
        and not callback_headers::jsonb @? '$.* ? (@.type() != "string")'),
    constraint cues_backoff_minutes check (
        array_ndims(backoff_minutes) = 1 and cardinality(backoff_minutes) between 1 and 10
        and array_position(backoff_minutes, null) is null
        and 0 <= all (backoff_minutes) and 1440 >= all (backoff_minutes)),
    constraint cues_moments check (
        least(schedule_at, next_run, last_run, created_at, updated_at, deleted_at) >= '0001-01-01 00:00:00+00'
        and greatest(schedule_at, next_run, last_run, created_at, updated_at, deleted_at) < '10000-01-01 00:00:00+00')
) with (fillfactor = 85);
create unique index cues_name on cues (user_id, name) where deleted_at is null;
create index cues_newest on cues (user_id, created_at desc, id desc) where deleted_at is null;
create index cues_by_status on cues (user_id, status, created_at desc, id desc) where deleted_at is null;
create index cues_by_group on cues (user_id, group_name, created_at desc, id desc)
    where deleted_at is null and group_name is not null;
create index cues_due on cues (next_run) where next_run is not null;
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
    transport            text not null check (transport in ('webhook', 'worker')),
    triggered_by         text not null check (triggered_by in ('scheduled', 'manual_fire', 'replay')),
    replayed_from        uuid,
    scheduled_for        timestamptz not null,
    status               text not null check (status in
                             ('pending', 'delivering', 'retrying', 'success', 'failed', 'missed', 'outcome_timeout')),
    ready_at             timestamptz not null,      -- pending and retrying: from when it may be claimed
    attempts             integer not null default 0 check (attempts between 0 and 1000),         -- attempts begun
    lost_claims          integer not null default 0 check (lost_claims between 0 and 1000),      -- claims lost in a row
    claim                uuid,                      -- the fence of the attempt under way
    claimed_by_worker    text,
    claimed_at           timestamptz,
    lease_until          timestamptz,               -- a worker's; a daemon's is in the outbox
    started_at           timestamptz,
    last_attempt_at      timestamptz,
    delivered_at         timestamptz,
    finished_at          timestamptz,
    http_status          smallint check (http_status between 100 and 999),
    response_body        text,
    error_message        text,
    payload              json not null check (json_typeof(payload) = 'object'),
    task                 text check (length(task) <= 255),
    missed_runs          integer not null default 0 check (missed_runs >= 0),
    outcome_attempt      integer check (outcome_attempt between 0 and 1000),   -- the attempt that the last report was for
    outcome_success      boolean,
    outcome_result       text,
    outcome_error        text,
    outcome_metadata     json,
    outcome_recorded_at  timestamptz,
    outcome_state        text check (outcome_state in ('reported_success', 'reported_failure', 'verified_success',
                                                       'verification_failed', 'verification_pending')),
    outcome_deadline_at  timestamptz,
    external_id          text,
    result_url           text,
    result_ref           text,
    result_type          text,
    summary              text,
    artifacts            json,
    validation_state     text check (validation_state in ('valid', 'missing', 'rejected')),
    created_at           timestamptz not null default clock_timestamp(),
    updated_at           timestamptz not null default clock_timestamp(),
    constraint executions_moments check (
        least(scheduled_for, ready_at, claimed_at, lease_until, started_at, last_attempt_at, delivered_at, finished_at,
              outcome_recorded_at, outcome_deadline_at, created_at, updated_at) >= '0001-01-01 00:00:00+00'
        and greatest(scheduled_for, ready_at, claimed_at, lease_until, started_at, last_attempt_at, delivered_at,
                     finished_at, outcome_recorded_at, outcome_deadline_at, created_at, updated_at)
            < '10000-01-01 00:00:00+00')
) with (fillfactor = 85);
create index executions_newest on executions (user_id, created_at desc, id desc);
create index executions_of_cue on executions (cue_id, created_at desc, id desc);
create index executions_by_status on executions (user_id, status, created_at desc, id desc);
create index executions_by_outcome on executions (user_id, outcome_state, created_at desc, id desc)
    where outcome_state is not null;
create index executions_by_hand on executions (user_id, triggered_by, created_at desc, id desc)
    where triggered_by <> 'scheduled';
create unique index executions_fired_once on executions (cue_id, scheduled_for) where triggered_by = 'scheduled';
create index executions_claimable on executions (user_id, ready_at, id)
    where transport = 'worker' and status in ('pending', 'retrying');
create index executions_claimable_task on executions (user_id, task, ready_at, id)
    where transport = 'worker' and status in ('pending', 'retrying');
create index executions_unclaimed on executions (ready_at)
    where transport = 'worker' and status in ('pending', 'retrying');
create index executions_held on executions (lease_until) where transport = 'worker' and status = 'delivering';
create index executions_open on executions (outcome_deadline_at)
    where outcome_deadline_at is not null and (outcome_attempt is null or outcome_attempt < attempts)
      and status in ('success', 'delivering');   -- only what an outcome may still come of
-- What one worker holds: a heartbeat may say what it runs.
create index executions_held_by on executions (user_id, claimed_by_worker)
    where transport = 'worker' and status = 'delivering';
create index executions_unfinished on executions (cue_id) where finished_at is null;
create index executions_finished on executions (finished_at) where finished_at is not null;

create table attempts (
    execution_id  uuid not null,
    attempt       integer not null check (attempt between 1 and 1000),
    started_at    timestamptz,
    duration_ms   bigint check (duration_ms >= 0),
    http_status   smallint check (http_status between 100 and 999),
    error         text,
    outcome       text,
    primary key (execution_id, attempt),
    constraint attempts_moments check (
        started_at >= '0001-01-01 00:00:00+00' and started_at < '10000-01-01 00:00:00+00')
);

-- One row for each webhook execution that is not settled: the queue of the dispatcher.
create table outbox (
    execution_id  uuid primary key,
    cue_id        text not null,
    user_id       bigint not null,
    host          text not null,
    ready_at      timestamptz not null,
    claimed_by    integer,                          -- the daemon
    lease_until   timestamptz,
    constraint outbox_claim check ((claimed_by is null) = (lease_until is null)),
    constraint outbox_moments check (
        least(ready_at, lease_until) >= '0001-01-01 00:00:00+00'
        and greatest(ready_at, lease_until) < '10000-01-01 00:00:00+00')
) with (fillfactor = 85);
create index outbox_ready on outbox (ready_at) where claimed_by is null;
create index outbox_claimed on outbox (claimed_by, lease_until) where claimed_by is not null;
create index outbox_of_cue on outbox (cue_id);

-- A daemon lives while the session-level advisory lock of its number is held.
create table daemons (
    number      integer generated always as identity primary key,
    instance    text not null,                      -- host, address and port: the same after a restart
    started_at  timestamptz not null default now(),
    free_since  timestamptz,                        -- when its lock was first seen free
    constraint daemons_moments check (
        least(started_at, free_since) >= '0001-01-01 00:00:00+00'
        and greatest(started_at, free_since) < '10000-01-01 00:00:00+00')
);

-- One whose lock was free for less than 5 s may only have lost its connection.
create view living_daemons as
select number from daemons where free_since is null or free_since > now() - interval '5 seconds';

create table workers (
    user_id             bigint not null references users on delete cascade,
    worker_id           text not null check (length(worker_id) between 1 and 255),
    handlers            text[] not null default '{}' check (array_position(handlers, null) is null),
    registered_since    timestamptz not null default now(),
    last_heartbeat      timestamptz not null default now(),
    offline_alerted_at  timestamptz,                -- null: no alert was raised yet
    primary key (user_id, worker_id),
    constraint workers_moments check (
        least(registered_since, last_heartbeat, offline_alerted_at) >= '0001-01-01 00:00:00+00'
        and greatest(registered_since, last_heartbeat, offline_alerted_at) < '10000-01-01 00:00:00+00')
) with (fillfactor = 70);
create index workers_silent on workers (last_heartbeat);

create table alerts (
    id            uuid primary key,
    user_id       bigint not null references users on delete cascade,
    cue_id        text,
    execution_id  uuid,
    alert_type    text not null check (alert_type in ('consecutive_failures', 'verification_failed', 'outcome_timeout',
                                                      'execution_failed', 'missed_run', 'worker_offline')),
    severity      text not null check (severity in ('warning', 'critical')),
    message       text not null,
    metadata      json not null default '{}' check (json_typeof(metadata) = 'object'),
    acknowledged  boolean not null default false,
    created_at    timestamptz not null default clock_timestamp(),
    constraint alerts_moments check (
        created_at >= '0001-01-01 00:00:00+00' and created_at < '10000-01-01 00:00:00+00')
);
create index alerts_newest on alerts (user_id, created_at desc, id desc);
create index alerts_by_type on alerts (user_id, alert_type, created_at desc, id desc);
create index alerts_of_execution on alerts (execution_id) where execution_id is not null;
create index alerts_age on alerts (created_at);

-- One alert per (user, type, subject) in 5 minutes: the statement that moves the row may raise it.
create table alert_gates (
    user_id     bigint not null,
    alert_type  text not null,
    subject     text not null,
    raised_at   timestamptz not null,
    primary key (user_id, alert_type, subject),
    constraint alert_gates_moments check (
        raised_at >= '0001-01-01 00:00:00+00' and raised_at < '10000-01-01 00:00:00+00')
);
create index alert_gates_age on alert_gates (raised_at);

-- Alert webhooks, failure webhooks and mails that are still to go out.
create table notifications (
    id            bigint generated always as identity primary key,
    kind          text not null check (kind in ('alert_webhook', 'failure_webhook', 'failure_mail', 'sign_in_mail')),
    user_id       bigint,                           -- null: a sign-in mail to an address that has no account yet
    url           text,                             -- where a webhook goes
    content       json not null check (json_typeof(content) = 'object'),
    ready_at      timestamptz not null default now(),
    attempts      smallint not null default 0 check (attempts >= 0),
    claim         uuid,
    claimed_by    integer,
    lease_until   timestamptz,
    created_at    timestamptz not null default now(),
    constraint notifications_url check ((url is not null) = (kind in ('alert_webhook', 'failure_webhook'))),
    constraint notifications_claim check (
        (claim is null) = (claimed_by is null) and (claim is null) = (lease_until is null)),
    constraint notifications_moments check (
        least(ready_at, lease_until, created_at) >= '0001-01-01 00:00:00+00'
        and greatest(ready_at, lease_until, created_at) < '10000-01-01 00:00:00+00')
);
create index notifications_ready on notifications (ready_at) where claim is null;
create index notifications_claimed on notifications (lease_until) where claim is not null;

-- When the failure mails of the last hour were written, for each user.
create table mail_gates (
    user_id  bigint primary key references users on delete cascade,
    moments  timestamptz[] not null
);

-- Counters that deletes and retention do not touch.
create table usage (
    user_id    bigint not null,
    month      date not null,
    executions bigint not null default 0 check (executions >= 0),
    reported   bigint not null default 0 check (reported >= 0),
    succeeded  bigint not null default 0 check (succeeded >= 0),
    failed     bigint not null default 0 check (failed >= 0),
    primary key (user_id, month)
) with (fillfactor = 50);

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

-- What `on_failure` asks for: a webhook to *hook*, a mail. At most ten mails to a user in an hour; the tenth says so.
create function tell_of_failure(whose bigint, hook text, mail boolean, failure jsonb) returns void
language plpgsql as $$
declare
    mails integer;
begin
    if hook is not null then
        insert into notifications (kind, user_id, url, content) values ('failure_webhook', whose, hook, failure::json);
    end if;
    if mail then
        insert into mail_gates as g (user_id, moments) values (whose, array[now()])
            on conflict (user_id) do update
           set moments = array(select m from unnest(g.moments) m where m > now() - interval '1 hour') || now()
         where (select count(*) from unnest(g.moments) m where m > now() - interval '1 hour') < 10
        returning cardinality(moments) into mails;
        if found then
            insert into notifications (kind, user_id, content)
            values ('failure_mail', whose, (failure || jsonb_build_object('last', mails = 10))::json);
        end if;
    end if;
end $$;

-- Whether the month of *whose* is spent: the limit is reached, and the 24 hours of grace, which begin with the first call
-- that finds it reached, are over. An alert a day says so.
create function month_is_spent(whose bigint, plan_limit bigint) returns boolean language plpgsql as $$
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
        return false;
    end if;
    update users set grace_month = this_month, grace_until = now() + interval '24 hours'
     where id = whose
       and grace_month is distinct from this_month;
    select grace_until into until from users where id = whose;
    if until > now() then
        return false;
    end if;
    perform raise_alert(whose, 'execution_failed', 'monthly_limit', null, null,
                        format('The month''s limit of %s executions is reached: new ones fail until it is over.', most),
                        json_build_object('monthly_execution_limit', most), interval '24 hours');
    return true;
end $$;
