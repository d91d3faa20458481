-- Who is told of what: alerts, failure webhooks and mails are raised in one place, whoever decides that.
-- A notice goes in the transaction of what it tells of, and is worked off on its own.

alter table notices
    drop column cue_id,
    drop column execution_id,
    drop column alert_id,
    drop constraint notices_kind_check,
    alter column user_id drop not null,             -- a sign-in mail may go to somebody who has no account yet
    add column url text,                            -- where a webhook goes
    add check (kind in ('alert_webhook', 'failure_webhook', 'failure_mail', 'sign_in_mail'));
drop index if exists notices_mails;

-- When the failure mails of the last hour were written, for each user.
create table mail_gates (
    user_id  bigint primary key references users on delete cascade,
    moments  timestamptz[] not null
);

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
    insert into notices (kind, user_id, url, content)
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
        insert into notices (kind, user_id, url, content) values ('failure_webhook', whose, hook, failure::json);
    end if;
    if mail then
        insert into mail_gates as g (user_id, moments) values (whose, array[now()])
            on conflict (user_id) do update
           set moments = array(select m from unnest(g.moments) m where m > now() - interval '1 hour') || now()
         where (select count(*) from unnest(g.moments) m where m > now() - interval '1 hour') < 10
        returning cardinality(moments) into mails;
        if found then
            insert into notices (kind, user_id, content)
            values ('failure_mail', whose, (failure || jsonb_build_object('last', mails = 10))::json);
        end if;
    end if;
end $$;

-- What one worker holds: a heartbeat may say what it runs.
create index executions_held_by on executions (user_id, claimed_by_worker)
    where transport = 'worker' and status = 'delivering';
