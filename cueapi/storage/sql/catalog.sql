-- What the schema holds, a line an object: what storage/schema.py compares with what the migrations have made.
select 'table ' || c.relname as object
  from pg_class c
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
union
select 'view ' || c.relname
  from pg_class c
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('v', 'm')
union
select 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || case when a.attnotnull then ' not null' else '' end
       || case when a.atthasdef then ' default' else '' end
       || case when a.attidentity <> '' then ' identity' else '' end
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
   and a.attnum > 0 and not a.attisdropped
union
-- One that is not valid was never finished.
select 'index ' || c.relname || ' on ' || t.relname || case when i.indisunique then ' unique' else '' end
  from pg_class c
  join pg_index i on i.indexrelid = c.oid
  join pg_class t on t.oid = i.indrelid
 where c.relnamespace = current_schema()::regnamespace and i.indisvalid
union
-- Not those of NOT NULL, which the columns tell: PostgreSQL has them as constraints from 18 on.
select 'constraint ' || k.conname || ' on ' || coalesce(c.relname, d.typname)
  from pg_constraint k
  left join pg_class c on c.oid = k.conrelid
  left join pg_type d on d.oid = k.contypid
 where k.connamespace = current_schema()::regnamespace and k.contype <> 'n'
union
select 'domain ' || d.typname || ' ' || format_type(d.typbasetype, d.typtypmod)
  from pg_type d
 where d.typnamespace = current_schema()::regnamespace and d.typtype = 'd'
union
select 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
  from pg_proc p
 where p.pronamespace = current_schema()::regnamespace
union
select 'trigger ' || t.tgname || ' on ' || c.relname
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal
