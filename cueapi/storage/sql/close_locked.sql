-- Closes the targets in `locked`; the audit and the title of the incident say :why.
), moved as (
    update targets t
       set state = 'closed', since = now(), probe = null, probe_claim = null, held_until = now()
      from locked l
     where t.user_id = l.user_id
       and t.host = l.host
 returning t.user_id, t.host, l.state as was
)
select user_id, host,
       write_audit(user_id, system_act(:why), 'target.closed', 'target', host, host,
                   changes_of(field_change('state', was::text, 'closed'::text))) as told,
       resolve_incident(user_id, 'target_down', host, :why) as incident
  from moved
