-- No row: the cue is not this user's. Without executions there is one, with an execution's columns null.
--
-- :most   how many executions, and one more; behind :skipped
with cue as (
    select
-- include: cue_columns
      from cues c
     where c.id = :cue_id
       and c.user_id = :user
       and c.deleted_at is null
), page as (
    select
-- include: execution_columns
      from executions e
      join cue c on true
     where e.cue_id = :cue_id
     order by e.created_at desc, e.id desc
     limit :most
    offset :skipped
), total as (
    select count(*) as total from (select from executions e where e.cue_id = :cue_id limit 10001) counted
)
select total.total,
-- include: shown_columns
       , page.*
  from cue
 cross join total
  left join page on true
 order by page.created_at desc, page.id desc
