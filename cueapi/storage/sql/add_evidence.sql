-- What is null stays. :state and :validation are the new ones where the evidence completes the outcome; :seen is the state
-- that it was read in. What was not verified then is: its alert is acknowledged. :alone where no transition goes with it,
-- since it has counted as good before: then it counts for the evidence that its cue's outcomes lacked.
with moved as (
    update executions e
       set external_id = coalesce(:external_id, e.external_id), result_url = coalesce(:result_url, e.result_url),
           result_ref = coalesce(:result_ref, e.result_ref), result_type = coalesce(:result_type, e.result_type),
           summary = coalesce(:summary, e.summary), artifacts = coalesce(:artifacts, e.artifacts),
           outcome_metadata = coalesce(:metadata, e.outcome_metadata),
           outcome_state = coalesce(:state, e.outcome_state),
           validation_state = coalesce(:validation, e.validation_state),
           updated_at = clock_timestamp()
-- include: outcome_seen
), settled as (
    update alerts a
       set acknowledged = true
      from moved m
     where a.execution_id = m.id
       and a.alert_type = 'verification_failed'
       and :state is not null
), locked as materialized (
-- include: cue_of_outcome
), tallied as (
-- include: tally_change
), recovered as (
    select recover_incidents(m.cue_id, '{}', array[m.id]) as incidents
      from moved m
     where m.outcome_state = 'verified_success'
       and :state is not null
       and :alone
       and (select count(*) from tallied) is not null
       and exists (select from incidents where cue_id = m.cue_id and kind = 'unverified' and resolved_at is null)
)
select outcome_state from moved, (select count(*) from recovered) r
