-- Filters
select _key, delay from flights where delay > 75 order by _key
select _key, delay from flights where origin = 'JFK' and delay is null order by _key
select _key from flights where delay between 10 and 12 and carrier in ('UA', 'B6') order by _key
select _key from flights where not (delay > -15) order by _key
select _key from flights where tail like 'N1%' and origin <> 'EWR' order by _key limit 20
select _key, is_late from flights where is_late order by _key limit 10
select _key from flights where is_late is null and origin = 'LGA' order by _key
select _key from flights where distance > 1000.5 and flight % 2 = 0 order by _key limit 30
select _key from flights where upper(origin) = 'JFK' and length(tail) = 2 order by _key limit 15
select _key from flights where coalesce(delay, 0) = 0 order by _key
select _key from flights where false
-- Keys
select _key, origin from flights where _key = 'UA/00000'
select _key from flights where _key >= 'B6/' and _key < 'B6/00500' order by _key
select _key from flights where _key like 'DL/001%' order by _key
select _key from flights where _key in ('UA/00000', 'B6/00003', 'nothing') order by _key
select count(*) from flights where _key > 'EV/'
select _key from flights where 'B6/00100' > _key and origin = 'EWR' order by _key
-- Counts and sums
select count(*) from flights
select count(delay), count(tail), count(is_late) from flights
select sum(delay), min(delay), max(delay) from flights
select sum(flight), avg(flight), min(distance), max(distance) from flights
select count(*), sum(delay) from flights where origin = 'nowhere'
select min(time), max(time) from flights
select min(tail), max(tail) from flights
select bool_and(is_late), bool_or(is_late) from flights
select bit_and(flight), bit_or(flight), bit_xor(flight) from flights
select round(avg(distance), 6) from flights
select round(stddev(flight), 6), round(var_pop(flight), 6) from flights
select count(*) filter (where delay > 0), sum(delay) filter (where origin = 'JFK') from flights
select sum(case when is_late then 1 else 0 end) from flights
-- Groups
select carrier, count(*) from flights group by carrier order by carrier
select carrier, origin, count(*), sum(delay) from flights group by carrier, origin order by 1, 2
select origin, avg(delay), min(delay), max(delay) from flights group by origin order by origin
select delay, count(*) from flights group by delay order by count(*) desc, delay limit 7
select tail, count(*) as n from flights group by tail having count(*) > 50 order by n desc, tail
select carrier, count(*) from flights where delay > 20 group by carrier having sum(delay) > 1000 order by 1
select is_late, count(*) from flights group by is_late order by is_late
select flight % 10 as digit, sum(delay) from flights group by digit order by digit
select origin, count(*) from flights group by rollup (origin) order by origin
select carrier, origin, sum(flight) from flights group by grouping sets ((carrier), (origin), ()) order by 1, 2
select carrier, origin, count(*) from flights group by cube (carrier, origin) order by 1, 2
select date_trunc('month', time) as month, count(*) from flights group by month order by month
select extract(hour from time) as hour, max(delay) from flights group by hour order by hour
select count(*) from (select carrier, flight from flights group by carrier, flight) as g
-- Distinct
select distinct origin from flights order by origin
select distinct carrier, origin from flights order by 1, 2
select count(distinct tail) from flights
select origin, count(distinct tail), count(distinct flight) from flights group by origin order by origin
select count(distinct carrier), sum(delay) from flights
-- Order and limit
select _key, delay from flights order by delay desc nulls last, _key limit 5
select _key, delay from flights order by delay nulls first, _key desc limit 9
select _key, distance from flights order by distance desc, _key limit 10 offset 5
select _key, time from flights where origin = 'JFK' order by time, _key limit 3
select _key, delay * 2 as twice from flights where delay is not null order by twice desc, _key limit 4
select * from (select _key, delay from flights order by delay desc nulls last, _key limit 10) as best order by _key
select count(*) from (select * from flights limit 17) as some
select carrier, count(*) as n from flights group by carrier order by n desc, carrier limit 2
select _key from flights order by _key limit 0
-- Dates
select count(*) from flights where time >= timestamp '2013-06-01 00:00:00'
select _key from flights where time between '2013-02-01' and '2013-02-03' order by _key
select date_part('month', time) as m, count(*) from flights where date_part('day', time) < 5 group by m order by m
select max(time) - min(time) from flights
select to_char(min(time), '%Y-%m-%d') from flights
-- Nulls
select delay is null as missing, count(*) from flights group by missing order by missing
select count(*) from flights where tail is null or delay is null
select nullif(origin, 'JFK') as o, count(*) from flights group by o order by o nulls last
select _key, coalesce(tail, 'none') from flights where flight = 7 order by _key limit 12
-- Joins and subqueries
select f._key, c.name from flights f join carriers c on f.carrier = c.code where f.delay > 78 order by 1
select c.name, count(*) from flights f join carriers c on f.carrier = c.code group by c.name order by 1
select f.carrier, c.name, count(*) from flights f left join carriers c on f.carrier = c.code group by 1, 2 order by 1
select c.code, count(f._key) from carriers c left join flights f on f.carrier = c.code group by c.code order by 1
select code from carriers where code not in (select carrier from flights) order by code
select count(*) from flights where carrier in (select code from carriers where name like '%e%')
select _key, delay from flights where delay = (select max(delay) from flights) order by _key
select x, y from (select distinct origin as x from flights) a cross join (select distinct origin as y from flights) b where x < y order by y, x limit 2
with late as (select * from flights where is_late) select origin, count(*) from late group by origin order by origin
with d as (select origin, avg(delay) as mean from flights group by origin) select f._key from flights f join d on f.origin = d.origin where f.delay > d.mean + 45 order by 1
select count(*) from flights f where exists (select 1 from carriers c where c.code = f.carrier)
select origin from flights where delay > 79 union select name from carriers order by 1
select carrier from flights intersect select code from carriers order by 1
select code from carriers except select carrier from flights order by 1
-- Windows
select _key, row_number() over (order by delay desc nulls last, _key) as place from flights order by place limit 6
select origin, _key, rank() over (partition by origin order by delay desc nulls last, _key) as r from flights where carrier = 'UA' order by origin, r limit 8
select carrier, sum(n) over (order by carrier) from (select carrier, count(*) as n from flights group by carrier) as g order by carrier
-- Expressions
select sum(cast(delay as double) / 3) > 0 from flights
select carrier || '-' || origin as way, count(*) from flights group by way order by way
select case when delay > 30 then 'late' when delay > 0 then 'behind' else 'fine' end as how, count(*) from flights group by how order by how
select abs(min(delay)), power(2, 3), substr(min(tail), 2) from flights
select regexp_replace(tail, '^N', 'M') as t, count(*) from flights where tail like 'N5%' group by t order by t
-- Lists
select array_length(array_agg(_key)) from flights where delay > 78
select string_agg(origin, ',' order by origin) from (select distinct origin from flights) as o
