-- :seen is the state that the person saw: the verdict counts for no other. :act says who gives it. What was not verified,
-- and is by it, counts as in add_evidence.sql; :alone likewise.
with moved as (
    update executions e
       set outcome_state = :state,
           -- Waiting for a person, it lacks nothing any more; what lacked nothing does not count once more.
           validation_state = coalesce(:validation, case when e.validation_state = 'valid' then 'valid' end),
           summary = case when :reason::text is null then e.summary
                          when coalesce(e.summary, '') = '' then :reason
                          else e.summary || ' — ' || :reason end,
           updated_at = clock_timestamp()
-- include: outcome_seen
), settled as (
    update alerts a
       set acknowledged = true
      from moved m
     where a.execution_id = m.id
       and a.alert_type = 'verification_failed'
       and m.outcome_state = 'verified_success'
 returning a.execution_id
), locked as materialized (
-- include: cue_of_outcome
), tallied as (
-- include: tally_change
), recovered as (
    select recover_incidents(m.cue_id, '{}', array[m.id]) as incidents
      from moved m
      join executions b on b.id = m.id
     where m.id in (select execution_id from settled)
       and b.validation_state is distinct from 'valid'
       and :alone
       and (select count(*) from tallied) is not null
       and exists (select from incidents where cue_id = m.cue_id and kind = 'unverified' and resolved_at is null)
), audited as (
    select write_audit(m.user_id, :act::json, 'execution.verified', 'execution', m.id::text, c.name,
                       changes_of(field_change('outcome_state', :seen::text, m.outcome_state::text)))
      from moved m
      join cues c on c.id = m.cue_id
)
select id
  from moved
 where (select count(*) from audited) is not null
   and (select count(*) from recovered) is not null
