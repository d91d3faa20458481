-- As every report does: the cue before the tallies, and these before incidents.
    select c.id from cues c where c.id = any (array(select cue_id from moved)) for no key update
