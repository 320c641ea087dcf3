-- The table that the example's connector watches.
create table if not exists public.my_table (
  id serial primary key,
  name text,
  created_at timestamp default now()
);
