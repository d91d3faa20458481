-- The whole schema. PostgreSQL is the truth: what the API answered 2xx for stands in here.

create table meta (
    key   text primary key,
    value text not null
);

create table users (
    id                       bigint generated always as identity primary key,
    email                    text not null,
    plan                     text not null,
    active_cue_limit         integer,               -- null: the plan's
    monthly_execution_limit  bigint,                -- null: the plan's
    rate_limit_per_minute    integer,               -- null: the plan's
    live_cues                integer not null default 0,   -- active and paused; kept by the trigger below
    webhook_secret           text not null,
    previous_webhook_secret  text,
    previous_secret_until    timestamptz,
    alert_webhook_url        text,
    alert_webhook_secret     text,
    sessions_valid_from      timestamptz not null default '-infinity',
    grace_month              date,
    grace_until              timestamptz,
    revoked_at               timestamptz,
    created_at               timestamptz not null default now(),
    updated_at               timestamptz not null default now()
);
create unique index users_email on users (lower(email));

create table api_keys (
    hash        bytea primary key,                  -- SHA-256; the key itself is kept nowhere readable
    user_id     bigint not null references users on delete cascade,
    prefix      text not null,
    encrypted   bytea,                              -- under a key derived from SESSION_SECRET
    created_at  timestamptz not null default now(),
    rotated_at  timestamptz                         -- for 24 h it answers key_rotated
);
create unique index api_keys_one_live on api_keys (user_id) where rotated_at is null;
create index api_keys_rotated on api_keys (rotated_at) where rotated_at is not null;

create table session_tokens (
    hash        bytea primary key,
    user_id     bigint not null references users on delete cascade,
    expires_at  timestamptz not null
);
create index session_tokens_expiry on session_tokens (expires_at);

create table device_codes (
    code          text primary key,
    status        text not null,
    email         text,
    user_id       bigint references users on delete cascade,
    new_user      boolean not null default false,
    token_hash    bytea unique,
    expires_at    timestamptz not null,
    created_at    timestamptz not null default now()
);
create index device_codes_expiry on device_codes (expires_at);
create index device_codes_user on device_codes (user_id) where user_id is not null;

create table idempotency_keys (
    user_id     bigint not null references users on delete cascade,
    method      text not null,
    path        text not null,
    key         text not null,
    body_hash   bytea not null,
    status      smallint not null,
    answer      text not null,
    created_at  timestamptz not null default now(),
    primary key (user_id, key, path, method)
);
create index idempotency_keys_age on idempotency_keys (created_at);

create table echoes (
    token        text primary key,
    payload      json not null,
    headers      json not null,
    received_at  timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index echoes_expiry on echoes (expires_at);

create table cues (
    id                    text primary key,
    user_id               bigint not null references users on delete cascade,
    name                  text not null,
    description           text,
    status                text not null check (status in ('active', 'paused', 'completed', 'failed')),
    transport             text not null check (transport in ('webhook', 'worker')),
    schedule_type         text not null check (schedule_type in ('recurring', 'once')),
    cron                  text,
    schedule_at           timestamptz,
    timezone              text not null,
    catchup               text not null check (catchup in ('latest', 'all', 'none')),
    overlap               text not null check (overlap in ('allow', 'skip')),
    callback_url          text,
    callback_method       text not null,
    callback_headers      json not null,
    callback_host         text,                     -- host:port, what fairness counts by
    payload               json not null,            -- as json.dumps(sort_keys=True) writes it
    task                  text,                     -- payload.task, where it is a string
    max_attempts          smallint not null,
    backoff_minutes       integer[] not null,
    on_failure            jsonb not null,
    verification          text not null,
    delivery              jsonb,
    alerts                jsonb,
    warning               text,
    next_run              timestamptz,
    last_run              timestamptz,
    fired_count           bigint not null default 0,
    run_count             bigint not null default 0,
    consecutive_failures  integer not null default 0,
    revision              bigint not null default 0,       -- moves with schedule and status: the poll's fence
    created_at            timestamptz not null default statement_timestamp(),
    updated_at            timestamptz not null default statement_timestamp(),
    deleted_at            timestamptz
) with (fillfactor = 85);
create unique index cues_name on cues (user_id, name) where deleted_at is null;
create index cues_newest on cues (user_id, created_at desc, id desc) where deleted_at is null;
create index cues_by_status on cues (user_id, status, created_at desc, id desc) where deleted_at is null;
create index cues_due on cues (next_run) where next_run is not null;
create index cues_deleted on cues (deleted_at) where deleted_at is not null;

-- users.live_cues is moved where a cue begins or ceases to count, whoever did it.
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
    transport            text not null,
    triggered_by         text not null check (triggered_by in ('scheduled', 'manual_fire', 'replay')),
    replayed_from        uuid,
    scheduled_for        timestamptz not null,
    status               text not null check (status in
                             ('pending', 'delivering', 'retrying', 'success', 'failed', 'missed', 'outcome_timeout')),
    ready_at             timestamptz not null,      -- pending and retrying: from when it may be claimed
    attempts             smallint not null default 0,      -- tries begun
    lost_claims              smallint not null default 0,      -- claims lost in a row
    claim                uuid,                      -- the fence of the try under way
    claimed_by_worker    text,
    claimed_at           timestamptz,
    lease_until          timestamptz,               -- a worker's; a daemon's stands in the outbox
    started_at           timestamptz,
    last_attempt_at      timestamptz,
    delivered_at         timestamptz,
    finished_at          timestamptz,
    http_status          smallint,
    response_body        text,
    error_message        text,
    payload              json not null,
    task                 text,
    missed_runs          integer not null default 0,
    outcome_attempt      smallint,                  -- the try that the last report was for
    outcome_success      boolean,
    outcome_result       text,
    outcome_error        text,
    outcome_metadata     json,
    outcome_recorded_at  timestamptz,
    outcome_state        text,
    outcome_deadline_at  timestamptz,
    external_id          text,
    result_url           text,
    result_ref           text,
    result_type          text,
    summary              text,
    artifacts            json,
    validation_state     text,
    created_at           timestamptz not null default clock_timestamp(),
    updated_at           timestamptz not null default clock_timestamp()
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
    attempt       smallint not null,
    started_at    timestamptz,
    duration_ms   integer,
    http_status   smallint,
    error         text,
    outcome       text,
    primary key (execution_id, attempt)
);

-- One row for each webhook execution that is not settled: the queue of the dispatcher.
create table outbox (
    execution_id  uuid primary key,
    cue_id        text not null,
    user_id       bigint not null,
    host          text not null,
    ready_at      timestamptz not null,
    claimed_by    integer,                          -- the daemon
    lease_until   timestamptz
) with (fillfactor = 85);
create index outbox_ready on outbox (ready_at) where claimed_by is null;
create index outbox_claimed on outbox (claimed_by, lease_until) where claimed_by is not null;
create index outbox_of_cue on outbox (cue_id);

-- A daemon lives while the session-level advisory lock of its number is held.
create table daemons (
    number      integer generated always as identity primary key,
    instance    text not null,                      -- host, address and port: who its former self was
    started_at  timestamptz not null default now(),
    free_since  timestamptz                         -- when its lock was first seen free
);

create table workers (
    user_id             bigint not null references users on delete cascade,
    worker_id           text not null,
    handlers            text[] not null default '{}',
    registered_since    timestamptz not null default now(),
    last_heartbeat      timestamptz not null default now(),
    offline_alerted_at  timestamptz,
    primary key (user_id, worker_id)
) with (fillfactor = 70);
create index workers_silent on workers (last_heartbeat);

create table alerts (
    id            uuid primary key,
    user_id       bigint not null references users on delete cascade,
    cue_id        text,
    execution_id  uuid,
    alert_type    text not null,
    severity      text not null,
    message       text not null,
    metadata      json not null default '{}',
    acknowledged  boolean not null default false,
    created_at    timestamptz not null default clock_timestamp()
);
create index alerts_newest on alerts (user_id, created_at desc, id desc);
create index alerts_by_type on alerts (user_id, alert_type, created_at desc, id desc);
create index alerts_of_execution on alerts (execution_id) where execution_id is not null;
create index alerts_age on alerts (created_at);

-- One alert per (user, type, subject) in 5 minutes: who moves the row may raise it.
create table alert_gates (
    user_id     bigint not null,
    alert_type  text not null,
    subject     text not null,
    raised_at   timestamptz not null,
    primary key (user_id, alert_type, subject)
);
create index alert_gates_age on alert_gates (raised_at);

-- Alert webhooks, failure webhooks and mails that are still to go out.
create table notifications (
    id            bigint generated always as identity primary key,
    kind          text not null check (kind in ('alert_webhook', 'failure_webhook', 'failure_mail', 'sign_in_mail')),
    user_id       bigint,                           -- null: a sign-in mail to an address that has no account yet
    url           text,                             -- where a webhook goes
    content       json not null,
    ready_at      timestamptz not null default now(),
    attempts      smallint not null default 0,
    claim         uuid,
    claimed_by    integer,
    lease_until   timestamptz,
    created_at    timestamptz not null default now()
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
    executions bigint not null default 0,
    reported   bigint not null default 0,
    succeeded  bigint not null default 0,
    failed     bigint not null default 0,
    primary key (user_id, month)
) with (fillfactor = 50);

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

-- Whether *whose* has come to the end of it: the limit is reached, and the 24 hours of grace, which begin with the first
-- call that finds it reached, are over. An alert a day says so.
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
