-- Guarantees: of any number of confirmations one takes the link, and of several links of one account one finds its address
-- unverified: the user's row is locked before the link is deleted, and read again where another had locked it.
with link as materialized (
    select user_id from address_links where token_hash = :token_hash and expires_at > now()
), holder as materialized (
    select u.id, u.email, u.email_verified_at is not null as verified
      from users u
      join link l on l.user_id = u.id
     where u.revoked_at is null
       for no key update of u
), taken as (
    delete from address_links a using holder h where a.token_hash = :token_hash and a.user_id = h.id returning a.email
), confirmed as (
    update users u
       set email = t.email, email_verified_at = now(), updated_at = clock_timestamp()
      from holder h, taken t
     where u.id = h.id
 returning u.id as user_id, u.email, h.email as former, h.verified
), audited as (
    select write_audit(user_id, :act, 'account.changed', 'account', user_id::text, email, changes)
      from (select *, changes_of(field_change('email', former, email), field_change('email_verified', verified, true))
                          as changes
              from confirmed) c
     where changes is not null
)
select * from confirmed where (select count(*) from audited) is not null
