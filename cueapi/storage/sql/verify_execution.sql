-- :seen is the state that the person saw: the verdict counts for no other. :act says who gives it.
with moved as (
    update executions e
       set outcome_state = :state, validation_state = coalesce(:validation, e.validation_state),
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
), audited as (
    select write_audit(m.user_id, :act::json, 'execution.verified', 'execution', m.id::text, c.name,
                       changes_of(field_change('outcome_state', :seen::text, m.outcome_state::text)))
      from moved m
      join cues c on c.id = m.cue_id
), tallied as (
-- include: tally_change
)
select id from moved where (select count(*) from audited) is not null
