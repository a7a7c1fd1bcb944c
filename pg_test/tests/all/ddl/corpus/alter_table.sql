ALTER TABLE plain ADD COLUMN f int;

ALTER TABLE plain ADD f int, ADD g text;

ALTER TABLE plain ADD COLUMN IF NOT EXISTS a int;

ALTER TABLE plain ADD COLUMN f int DEFAULT 5 NOT NULL;

ALTER TABLE plain ADD COLUMN f float8 DEFAULT random();

ALTER TABLE plain ADD COLUMN f serial;

ALTER TABLE plain ADD COLUMN f int GENERATED ALWAYS AS IDENTITY;

ALTER TABLE plain ADD COLUMN f int GENERATED ALWAYS AS (a + 1) STORED;

ALTER TABLE plain ADD COLUMN f int UNIQUE;

ALTER TABLE plain ADD COLUMN f int CHECK (f > 0);

ALTER TABLE plain ADD COLUMN f int REFERENCES customers;

ALTER TABLE plain ADD COLUMN f int REFERENCES plain;

ALTER TABLE plain ADD COLUMN f int REFERENCES visits ON DELETE CASCADE;

ALTER TABLE plain ADD COLUMN f int DEFAULT 1 REFERENCES customers (id);

ALTER TABLE plain ADD COLUMN f mood DEFAULT 'sad';

ALTER TABLE plain ADD COLUMN f positive DEFAULT 1;

ALTER TABLE plain ADD COLUMN f bigint DEFAULT nextval('free_numbers');

ALTER TABLE plain ADD COLUMN f customers;

ALTER TABLE narrow ADD PRIMARY KEY (b);

ALTER TABLE narrow ADD PRIMARY KEY USING INDEX narrow_b;

ALTER TABLE narrow ADD CONSTRAINT narrow_key UNIQUE USING INDEX narrow_b;

ALTER TABLE narrow ADD CONSTRAINT narrow_key UNIQUE (a, b) DEFERRABLE;

ALTER TABLE narrow ADD CONSTRAINT narrow_check CHECK (a > 0);

ALTER TABLE narrow ADD CHECK (a > 0) NOT VALID;

ALTER TABLE narrow ADD CHECK (a > 0) NO INHERIT;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES plain;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES customers NOT VALID;

ALTER TABLE narrow ADD CONSTRAINT narrow_fkey FOREIGN KEY (a) REFERENCES plain (e) ON DELETE CASCADE;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES narrow (b);

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES visits;

ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES plain (id);

ALTER TABLE orders_2023 ADD FOREIGN KEY (customer) REFERENCES plain (id);

ALTER TABLE events ADD FOREIGN KEY (id) REFERENCES visits DEFERRABLE;

ALTER TABLE readings ADD COLUMN n int REFERENCES visits;

ALTER TABLE bookings ADD EXCLUDE USING gist (during WITH =);

ALTER TABLE narrow ADD EXCLUDE (a WITH =);

ALTER TABLE plain DROP COLUMN e;

ALTER TABLE plain DROP COLUMN IF EXISTS no_such_column;

ALTER TABLE plain DROP COLUMN a CASCADE;

ALTER TABLE plain DROP COLUMN c, DROP COLUMN d;

ALTER TABLE customers DROP COLUMN feels CASCADE;

ALTER TABLE customers DROP COLUMN name CASCADE;

ALTER TABLE customers DROP COLUMN id CASCADE;

ALTER TABLE customers DROP notes;

ALTER TABLE products DROP COLUMN id CASCADE;

ALTER TABLE products DROP COLUMN category;

ALTER TABLE products DROP COLUMN category RESTRICT;

ALTER TABLE products DROP COLUMN price CASCADE;

ALTER TABLE products DROP COLUMN photo, ADD COLUMN picture bytea;

ALTER TABLE stock DROP COLUMN product;

ALTER TABLE stock DROP COLUMN region;

ALTER TABLE warehouses DROP COLUMN capacity;

ALTER TABLE warehouses DROP COLUMN region CASCADE;

ALTER TABLE employees DROP COLUMN manager;

ALTER TABLE employees DROP COLUMN department;

ALTER TABLE orders DROP COLUMN remark;

ALTER TABLE orders DROP COLUMN customer CASCADE;

ALTER TABLE orders DROP COLUMN id CASCADE;

ALTER TABLE order_items DROP COLUMN product CASCADE;

ALTER TABLE events DROP COLUMN data;

-- fails: it is part of the partition key of one of them
ALTER TABLE events DROP COLUMN id CASCADE;

ALTER TABLE vehicles DROP COLUMN wheels;

ALTER TABLE ONLY vehicles DROP COLUMN wheels;

ALTER TABLE cars DROP COLUMN doors;

ALTER TABLE invoices DROP COLUMN amount;

ALTER TABLE invoices DROP COLUMN customer;

ALTER TABLE serials DROP COLUMN b;

ALTER TABLE serials DROP COLUMN c;

ALTER TABLE tickets DROP COLUMN no CASCADE;

ALTER TABLE audit_log DROP COLUMN what CASCADE;

ALTER TABLE memberships DROP COLUMN who CASCADE;

ALTER TABLE documents DROP COLUMN owner CASCADE;

ALTER TABLE "Mixed Case"."Odd Table" DROP COLUMN "Some Text";

ALTER TABLE IF EXISTS no_such_table DROP COLUMN a;

ALTER TABLE IF EXISTS plain DROP COLUMN c;

ALTER TABLE ONLY plain DROP COLUMN c;

ALTER TABLE plain ALTER COLUMN c SET DEFAULT now();

ALTER TABLE plain ALTER c DROP DEFAULT;

ALTER TABLE tickets ALTER no SET DEFAULT nextval('free_numbers');

ALTER TABLE tickets ALTER no DROP DEFAULT;

ALTER TABLE invoices ALTER no DROP DEFAULT;

ALTER TABLE products ALTER id DROP DEFAULT;

ALTER TABLE orders ALTER total SET DEFAULT 0;

ALTER TABLE ONLY orders ALTER total SET DEFAULT 0;

ALTER TABLE vehicles ALTER wheels SET DEFAULT 3;

ALTER TABLE ONLY vehicles ALTER wheels DROP DEFAULT;

ALTER VIEW customer_names ALTER COLUMN name SET DEFAULT 'x';

ALTER TABLE customer_names ALTER COLUMN name SET DEFAULT 'x';

ALTER TABLE plain ALTER a SET NOT NULL;

ALTER TABLE plain ALTER e DROP NOT NULL;

ALTER TABLE orders ALTER customer SET NOT NULL;

ALTER TABLE orders_2023 ALTER customer SET NOT NULL;

ALTER TABLE order_items ALTER amount SET NOT NULL;

ALTER TABLE vehicles ALTER id SET NOT NULL;

ALTER TABLE ONLY vehicles ALTER id SET NOT NULL;

ALTER TABLE events ALTER kind DROP NOT NULL;

ALTER TABLE price_list ALTER price DROP NOT NULL;

ALTER TABLE plain ALTER a SET STATISTICS 100;

-- fails: a column number is for an index
ALTER TABLE plain ALTER 3 SET STATISTICS 100;

ALTER TABLE vehicles ALTER name SET STATISTICS 10;

ALTER TABLE ONLY vehicles ALTER name SET STATISTICS 10;

ALTER TABLE orders ALTER remark SET STATISTICS -1;

ALTER TABLE plain ALTER a SET (n_distinct = 5);

ALTER TABLE plain ALTER a RESET (n_distinct);

ALTER TABLE cars ALTER name SET (n_distinct_inherited = 5);

ALTER TABLE plain ALTER b SET STORAGE EXTERNAL;

ALTER TABLE orders ALTER remark SET STORAGE MAIN;

ALTER TABLE plain ALTER b SET COMPRESSION pglz;

ALTER TABLE vehicles ALTER name SET COMPRESSION default;

ALTER TABLE plain ALTER e TYPE bigint;

ALTER TABLE plain ALTER c TYPE timestamptz;

ALTER TABLE IF EXISTS plain ALTER COLUMN c SET DATA TYPE date;

ALTER TABLE narrow ALTER c TYPE bigint;

ALTER TABLE narrow ALTER c TYPE bigint USING c * 2;

ALTER TABLE narrow ALTER b TYPE bigint, ALTER c TYPE bigint;

ALTER TABLE narrow ALTER b TYPE text, ADD COLUMN z int;

ALTER TABLE plain ALTER d TYPE varchar(30);

ALTER TABLE plain ALTER d TYPE varchar(10);

ALTER TABLE plain ALTER d TYPE text;

ALTER TABLE plain ALTER d TYPE varchar(20) COLLATE "C";

ALTER TABLE measured ALTER v TYPE varchar;

ALTER TABLE measured ALTER v TYPE varchar(10);

ALTER TABLE measured ALTER v TYPE varchar(11);

ALTER TABLE measured ALTER v TYPE varchar(9);

ALTER TABLE measured ALTER v TYPE text;

ALTER TABLE measured ALTER v TYPE char(10);

ALTER TABLE measured ALTER v TYPE short_text;

ALTER TABLE measured ALTER v TYPE short_title;

ALTER TABLE measured ALTER v TYPE mail;

ALTER TABLE measured ALTER v TYPE filled;

ALTER TABLE measured ALTER v TYPE varchar(10)[] USING ARRAY[v];

ALTER TABLE measured ALTER v TYPE int USING 1;

ALTER TABLE measured ALTER c TYPE char(20);

ALTER TABLE measured ALTER c TYPE char(5);

ALTER TABLE measured ALTER c TYPE text;

ALTER TABLE measured ALTER c TYPE varchar(10);

ALTER TABLE measured ALTER c TYPE short_text;

ALTER TABLE measured ALTER n TYPE numeric;

ALTER TABLE measured ALTER n TYPE numeric(10, 2);

ALTER TABLE measured ALTER n TYPE numeric(8, 3);

ALTER TABLE measured ALTER n TYPE numeric(7, 2);

ALTER TABLE measured ALTER n TYPE numeric(10);

ALTER TABLE measured ALTER n TYPE money;

ALTER TABLE measured ALTER n TYPE float8;

ALTER TABLE measured ALTER b TYPE varbit;

ALTER TABLE measured ALTER b TYPE varbit(9);

ALTER TABLE measured ALTER b TYPE varbit(7);

ALTER TABLE measured ALTER b TYPE bit(8);

ALTER TABLE measured ALTER f TYPE bit(9);

ALTER TABLE measured ALTER f TYPE varbit;

ALTER TABLE measured ALTER f TYPE varbit(8);

ALTER TABLE measured ALTER f TYPE varbit(20);

ALTER TABLE measured ALTER t TYPE time;

ALTER TABLE measured ALTER t TYPE time(6);

ALTER TABLE measured ALTER t TYPE time(4);

ALTER TABLE measured ALTER t TYPE time(2);

ALTER TABLE measured ALTER t TYPE interval;

ALTER TABLE measured ALTER t TYPE timetz;

ALTER TABLE measured ALTER z TYPE timetz;

ALTER TABLE measured ALTER z TYPE timetz(5);

ALTER TABLE measured ALTER z TYPE timetz(1);

ALTER TABLE measured ALTER z TYPE time;

ALTER TABLE measured ALTER s TYPE timestamp;

ALTER TABLE measured ALTER s TYPE timestamp(6);

ALTER TABLE measured ALTER s TYPE timestamp(2);

ALTER TABLE measured ALTER s TYPE timestamptz;

ALTER TABLE measured ALTER s TYPE timestamptz(3);

ALTER TABLE measured ALTER s TYPE timestamptz(6);

ALTER TABLE measured ALTER s TYPE date;

ALTER TABLE measured ALTER y TYPE timestamptz;

ALTER TABLE measured ALTER y TYPE timestamptz(5);

ALTER TABLE measured ALTER y TYPE timestamptz(0);

ALTER TABLE measured ALTER y TYPE timestamp;

ALTER TABLE measured ALTER y TYPE timestamp(3);

ALTER TABLE measured ALTER i TYPE interval;

ALTER TABLE measured ALTER i TYPE interval(6);

ALTER TABLE measured ALTER i TYPE interval(2);

ALTER TABLE measured ALTER i TYPE interval second(3);

ALTER TABLE measured ALTER i TYPE interval hour;

ALTER TABLE measured ALTER i TYPE interval day to second;

ALTER TABLE measured ALTER i TYPE interval year to month;

ALTER TABLE measured ALTER h TYPE interval;

ALTER TABLE measured ALTER h TYPE interval(0);

ALTER TABLE measured ALTER h TYPE interval minute;

ALTER TABLE measured ALTER h TYPE interval hour;

ALTER TABLE measured ALTER h TYPE interval second(1);

ALTER TABLE measured ALTER h TYPE interval day to minute;

ALTER TABLE measured ALTER a TYPE varchar[];

ALTER TABLE measured ALTER a TYPE varchar(20)[];

ALTER TABLE measured ALTER a TYPE varchar(5)[];

ALTER TABLE measured ALTER a TYPE text[];

ALTER TABLE measured ALTER a TYPE text USING a[1];

ALTER TABLE measured ALTER d TYPE varchar;

ALTER TABLE measured ALTER d TYPE varchar(20);

ALTER TABLE measured ALTER d TYPE varchar(30);

ALTER TABLE measured ALTER d TYPE text;

ALTER TABLE measured ALTER d TYPE short_title;

ALTER TABLE measured ALTER d TYPE short_text;

ALTER TABLE measured ALTER d TYPE lonely_domain;

ALTER TABLE measured ALTER p TYPE int;

ALTER TABLE measured ALTER p TYPE small_positive;

ALTER TABLE measured ALTER p TYPE positive;

ALTER TABLE measured ALTER p TYPE bigint;

ALTER TABLE measured ALTER p TYPE numeric;

ALTER TABLE measured ALTER note TYPE varchar;

ALTER TABLE measured ALTER note TYPE varchar(100);

ALTER TABLE measured ALTER note TYPE short_text;

ALTER TABLE measured ALTER note TYPE lonely_domain;

ALTER TABLE measured ALTER note TYPE mail;

ALTER TABLE measured ALTER note TYPE filled;

ALTER TABLE measured ALTER note TYPE short_text USING note;

ALTER TABLE measured ALTER note TYPE xml USING NULL;

ALTER TABLE measured ADD x short_title;

ALTER TABLE measured ADD x short_text;

ALTER TABLE measured ADD x small_positive[];

-- fails: a view uses it
ALTER TABLE categories ALTER title TYPE text;

ALTER TABLE products ALTER weight TYPE int;

ALTER TABLE products ALTER sku TYPE varchar(100);

-- fails: views use it
ALTER TABLE products ALTER id TYPE bigint;

ALTER TABLE stock ALTER product TYPE bigint;

ALTER TABLE stock ALTER amount TYPE numeric;

ALTER TABLE stock ALTER region TYPE varchar(20);

ALTER TABLE warehouses ALTER no TYPE bigint;

ALTER TABLE warehouses ALTER region TYPE varchar(10);

ALTER TABLE warehouses ALTER capacity TYPE bigint;

ALTER TABLE departments ALTER id TYPE bigint;

ALTER TABLE employees ALTER id TYPE bigint;

ALTER TABLE employees ALTER manager TYPE bigint;

-- fails: a materialized view uses it
ALTER TABLE orders ALTER total TYPE float8;

ALTER TABLE orders ALTER remark TYPE varchar(100);

ALTER TABLE order_items ALTER line TYPE bigint;

ALTER TABLE events ALTER data TYPE varchar(20);

ALTER TABLE events ALTER data TYPE json USING to_json(data);

ALTER TABLE readings ALTER value TYPE numeric;

ALTER TABLE readings ALTER at TYPE date;

ALTER TABLE visits ALTER page TYPE varchar(100);

ALTER TABLE visit_details ALTER visit TYPE bigint;

ALTER TABLE vehicles ALTER wheels TYPE bigint;

ALTER TABLE vehicles ALTER name TYPE varchar(50);

ALTER TABLE cars ALTER doors TYPE bigint;

ALTER TABLE customers ALTER notes TYPE varchar(1000);

ALTER TABLE customers ALTER email TYPE text;

ALTER TABLE bookings ALTER room TYPE bigint;

ALTER TABLE invoices ALTER amount TYPE int;

ALTER TABLE documents ALTER body TYPE varchar(100);

ALTER TABLE feelings ALTER a TYPE text;

ALTER TABLE unchecked ALTER product TYPE bigint;

ALTER TABLE unchecked ALTER price TYPE float8;

ALTER TABLE archive.old_orders ALTER body TYPE varchar(100);

ALTER TABLE serials ALTER b TYPE int;

ALTER TABLE serials ALTER c TYPE bigint;

ALTER TABLE compared ALTER a TYPE int;

ALTER TABLE moved ALTER body TYPE varchar(10);

-- fails: the column may be null
ALTER TABLE narrow ALTER c ADD GENERATED ALWAYS AS IDENTITY;

ALTER TABLE plain ALTER e DROP DEFAULT, ALTER e ADD GENERATED ALWAYS AS IDENTITY;

ALTER TABLE serials ALTER d ADD GENERATED BY DEFAULT AS IDENTITY (START 10);

ALTER TABLE customers ALTER id SET GENERATED BY DEFAULT;

ALTER TABLE customers ALTER id RESTART;

ALTER TABLE customers ALTER id SET INCREMENT BY 2 SET CYCLE;

ALTER TABLE serials ALTER c DROP IDENTITY;

ALTER TABLE serials ALTER a DROP IDENTITY IF EXISTS;

ALTER TABLE customers ALTER folded DROP EXPRESSION;

ALTER TABLE customers ALTER name DROP EXPRESSION IF EXISTS;

ALTER TABLE stock DROP CONSTRAINT stock_product_fkey;

ALTER TABLE stock DROP CONSTRAINT stock_warehouse_fkey;

ALTER TABLE stock DROP CONSTRAINT stock_key;

ALTER TABLE stock DROP CONSTRAINT IF EXISTS no_such_constraint;

ALTER TABLE stock DROP CONSTRAINT stock_product_fkey, DROP CONSTRAINT stock_warehouse_fkey;

ALTER TABLE products DROP CONSTRAINT products_pkey CASCADE;

ALTER TABLE products DROP CONSTRAINT products_sku_key;

ALTER TABLE products DROP CONSTRAINT price_is_sane;

ALTER TABLE customers DROP CONSTRAINT customers_pkey CASCADE;

ALTER TABLE warehouses DROP CONSTRAINT warehouses_pkey CASCADE;

ALTER TABLE employees DROP CONSTRAINT employees_pkey CASCADE;

ALTER TABLE employees DROP CONSTRAINT employees_department_fkey;

ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey;

ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;

ALTER TABLE order_items DROP CONSTRAINT order_items_order_fkey;

ALTER TABLE order_items DROP CONSTRAINT order_items_pkey;

ALTER TABLE refunds DROP CONSTRAINT refunds_order_fkey;

ALTER TABLE visits DROP CONSTRAINT visits_pkey CASCADE;

ALTER TABLE visit_details DROP CONSTRAINT visit_details_visit_fkey;

ALTER TABLE vehicles DROP CONSTRAINT vehicle_has_name;

ALTER TABLE ONLY vehicles DROP CONSTRAINT vehicle_has_name;

ALTER TABLE bookings DROP CONSTRAINT no_overlap;

ALTER TABLE compared DROP CONSTRAINT a_before_b;

ALTER TABLE staff DROP CONSTRAINT staff_pkey;

ALTER TABLE categories DROP CONSTRAINT categories_parent_fkey;

ALTER TABLE orders ADD CHECK (total >= 0);

ALTER TABLE orders ADD CONSTRAINT total_known CHECK (total IS NOT NULL) NOT VALID;

ALTER TABLE orders_2023 ADD CHECK (total >= 0);

ALTER TABLE vehicles ADD CHECK (wheels > 0);

ALTER TABLE ONLY vehicles ADD CHECK (wheels > 0) NO INHERIT;

ALTER TABLE vehicles ADD COLUMN owner text;

ALTER TABLE cars ADD COLUMN owner text DEFAULT 'me';

ALTER TABLE boats ADD COLUMN owner text;

ALTER TABLE orders ADD COLUMN note text;

ALTER TABLE orders ADD COLUMN note float8 DEFAULT random();

ALTER TABLE orders ADD UNIQUE (placed, id);

ALTER TABLE orders ADD CONSTRAINT o CHECK (id > 0), ADD note text, ALTER total SET NOT NULL;

ALTER TABLE events ADD COLUMN extra int;

ALTER TABLE events_2023 ADD CHECK (id > 0);

ALTER TABLE readings ADD UNIQUE (sensor, at);

ALTER TABLE empty_parent ADD PRIMARY KEY (a);

ALTER TABLE ONLY empty_parent ADD PRIMARY KEY (a);

ALTER TABLE ONLY readings ADD CONSTRAINT r UNIQUE (sensor, at);

ALTER TABLE unchecked VALIDATE CONSTRAINT unchecked_product_fkey;

ALTER TABLE unchecked VALIDATE CONSTRAINT unchecked_price_check;

ALTER TABLE unchecked VALIDATE CONSTRAINT unchecked_price_check, VALIDATE CONSTRAINT unchecked_product_fkey;

ALTER TABLE stock VALIDATE CONSTRAINT stock_product_fkey;

ALTER TABLE orders ADD CONSTRAINT t CHECK (total >= 0) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT t;

ALTER TABLE vehicles ADD CONSTRAINT t CHECK (wheels >= 0) NOT VALID;
ALTER TABLE vehicles VALIDATE CONSTRAINT t;

ALTER TABLE employees ALTER CONSTRAINT employees_department_fkey NOT DEFERRABLE;

ALTER TABLE stock ALTER CONSTRAINT stock_product_fkey DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE orders ALTER CONSTRAINT orders_customer_fkey DEFERRABLE;

ALTER TABLE order_items ALTER CONSTRAINT order_items_order_fkey DEFERRABLE;

ALTER TABLE refunds ALTER CONSTRAINT refunds_order_fkey DEFERRABLE;

ALTER TABLE customers DISABLE TRIGGER customers_touch;

ALTER TABLE customers DISABLE TRIGGER ALL;

ALTER TABLE customers ENABLE TRIGGER USER;

ALTER TABLE customers ENABLE REPLICA TRIGGER customers_touch;

ALTER TABLE customers ENABLE ALWAYS TRIGGER customers_touch;

ALTER TABLE orders DISABLE TRIGGER orders_touch;

ALTER TABLE ONLY orders DISABLE TRIGGER orders_touch;

ALTER TABLE orders ENABLE TRIGGER ALL;

ALTER TABLE invoices DISABLE RULE invoices_log;

ALTER TABLE invoices ENABLE RULE invoices_log;

ALTER TABLE invoices ENABLE REPLICA RULE invoices_log;

ALTER TABLE invoices ENABLE ALWAYS RULE invoices_log;

ALTER TABLE documents DISABLE ROW LEVEL SECURITY;

ALTER TABLE plain ENABLE ROW LEVEL SECURITY;

ALTER TABLE documents FORCE ROW LEVEL SECURITY;

ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;

ALTER TABLE plain CLUSTER ON plain_d;

ALTER TABLE plain SET WITHOUT CLUSTER;

ALTER TABLE plain SET WITHOUT OIDS;

ALTER TABLE plain SET TABLESPACE depot;

ALTER TABLE moved SET TABLESPACE pg_default;

ALTER TABLE moved SET TABLESPACE depot;

ALTER TABLE orders SET TABLESPACE depot;

ALTER TABLE orders_2023 SET TABLESPACE depot;

ALTER TABLE plain_a SET TABLESPACE depot;

ALTER TABLE plain SET (fillfactor = 70);

ALTER TABLE plain SET (autovacuum_enabled = false, toast.autovacuum_enabled = false);

ALTER TABLE plain SET (user_catalog_table = true);

ALTER TABLE plain RESET (fillfactor);

ALTER TABLE plain SET (parallel_workers = 2, fillfactor = 50);

ALTER TABLE moved SET (toast_tuple_target = 256);

ALTER TABLE narrow SET (fillfactor = 90);

ALTER TABLE compared SET UNLOGGED;

ALTER TABLE serials SET UNLOGGED;

ALTER TABLE documents SET UNLOGGED;

ALTER TABLE narrow SET LOGGED;

ALTER TABLE scratch SET LOGGED;

-- fails: logged tables refer to it
ALTER TABLE customers SET UNLOGGED;

ALTER TABLE plain SET ACCESS METHOD heap;

ALTER TABLE cars NO INHERIT vehicles;

ALTER TABLE amphibians NO INHERIT boats;

ALTER TABLE bicycles INHERIT vehicles;

ALTER TABLE old_cars NO INHERIT old_things;

ALTER TABLE guests NOT OF;

ALTER TABLE untyped OF person;

ALTER TABLE plain OWNER TO clerk;

ALTER TABLE products OWNER TO clerk;

ALTER TABLE customers OWNER TO CURRENT_USER;

ALTER TABLE orders OWNER TO clerk;

ALTER TABLE clerk_notes OWNER TO manager;

ALTER TABLE lonely_view OWNER TO clerk;

ALTER TABLE free_numbers OWNER TO clerk;

ALTER TABLE plain REPLICA IDENTITY USING INDEX plain_e;

ALTER TABLE plain REPLICA IDENTITY FULL;

ALTER TABLE plain REPLICA IDENTITY DEFAULT;

ALTER TABLE plain REPLICA IDENTITY NOTHING;

ALTER TABLE orders REPLICA IDENTITY FULL;

ALTER TABLE orders ATTACH PARTITION orders_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

ALTER TABLE orders ATTACH PARTITION orders_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');

ALTER TABLE orders ATTACH PARTITION orders_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');

ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

ALTER TABLE readings ATTACH PARTITION readings_d FOR VALUES IN ('d');

ALTER TABLE readings ATTACH PARTITION readings_d DEFAULT;

CREATE TABLE visits_2 (LIKE visits INCLUDING ALL);
ALTER TABLE visits DETACH PARTITION visits_1;
ALTER TABLE visits ATTACH PARTITION visits_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);

-- fails: rows of it are referenced
ALTER TABLE orders DETACH PARTITION orders_2023;

DELETE FROM order_items;
DELETE FROM refunds;
ALTER TABLE orders DETACH PARTITION orders_2023;

ALTER TABLE order_items DETACH PARTITION order_items_old;

ALTER TABLE orders DETACH PARTITION orders_default;

ALTER TABLE events DETACH PARTITION events_2023;

ALTER TABLE events DETACH PARTITION events_rest;

ALTER TABLE events DETACH PARTITION events_2024;

ALTER TABLE events_2023 DETACH PARTITION events_2023_click;

ALTER TABLE readings DETACH PARTITION readings_a;

ALTER TABLE visits DETACH PARTITION visits_0;

ALTER TABLE plain RENAME TO fancy;

ALTER TABLE IF EXISTS no_such_table RENAME TO fancy;

ALTER TABLE orders RENAME TO purchases;

ALTER TABLE orders_2023 RENAME TO purchases_2023;

ALTER TABLE products RENAME TO goods;

ALTER TABLE plain_a RENAME TO plain_aa;

ALTER TABLE lonely_view RENAME TO view_alone;

ALTER TABLE free_numbers RENAME TO freed_numbers;

ALTER TABLE plain RENAME COLUMN a TO aa;

ALTER TABLE plain RENAME a TO aa;

ALTER TABLE IF EXISTS no_such_table RENAME a TO aa;

ALTER TABLE orders RENAME COLUMN total TO sum;

ALTER TABLE vehicles RENAME COLUMN wheels TO tyres;

ALTER TABLE cars RENAME COLUMN doors TO hatches;

ALTER TABLE customers RENAME name TO full_name;

ALTER TABLE lonely_view RENAME a TO aa;

ALTER TABLE stock RENAME CONSTRAINT stock_key TO stock_unique;

ALTER TABLE stock RENAME CONSTRAINT stock_product_fkey TO f;

ALTER TABLE vehicles RENAME CONSTRAINT vehicle_has_name TO named;

ALTER TABLE orders RENAME CONSTRAINT orders_pkey TO orders_primary;

ALTER TABLE orders RENAME CONSTRAINT orders_customer_fkey TO f;

ALTER TABLE products RENAME CONSTRAINT price_is_sane TO sane;

ALTER TABLE plain SET SCHEMA archive;

ALTER TABLE products SET SCHEMA archive;

ALTER TABLE customers SET SCHEMA archive;

ALTER TABLE orders SET SCHEMA archive;

ALTER TABLE serials SET SCHEMA archive;

ALTER TABLE IF EXISTS no_such_table SET SCHEMA archive;

ALTER TABLE lonely_view SET SCHEMA archive;

ALTER TABLE letters ADD COLUMN footer text;

ALTER TABLE staff ALTER born SET DEFAULT now();

ALTER TABLE ALL IN TABLESPACE depot SET TABLESPACE pg_default;

ALTER TABLE ALL IN TABLESPACE depot OWNED BY clerk SET TABLESPACE pg_default NOWAIT;

ALTER TABLE ALL IN TABLESPACE depot OWNED BY postgres SET TABLESPACE pg_default;

ALTER INDEX ALL IN TABLESPACE depot SET TABLESPACE pg_default;

ALTER TABLE "Mixed Case"."Odd Table" ADD COLUMN "New Column" int;

ALTER TABLE "Mixed Case"."Child" DROP CONSTRAINT "Child_Parent_fkey";

ALTER TABLE archive.old_items DROP CONSTRAINT old_items_old_order_fkey;

ALTER FOREIGN TABLE remote ADD COLUMN c int;

ALTER FOREIGN TABLE remote ALTER body SET NOT NULL;

ALTER FOREIGN TABLE remote OPTIONS (ADD a '1');

ALTER FOREIGN TABLE remote ALTER body OPTIONS (ADD a '1');

ALTER FOREIGN TABLE remote RENAME TO distant;

ALTER FOREIGN TABLE remote RENAME body TO text;

ALTER FOREIGN TABLE remote SET SCHEMA archive;

ALTER FOREIGN TABLE remote OWNER TO clerk;

ALTER FOREIGN TABLE remote_child NO INHERIT old_things;

ALTER FOREIGN TABLE IF EXISTS no_such_foreign_table ADD COLUMN c int;

ALTER TABLE old_things ADD COLUMN age int;

ALTER TABLE old_things ALTER id TYPE bigint;

ALTER TABLE plain RENAME TO fancy;
ALTER TABLE fancy ADD COLUMN f int;
ALTER TABLE fancy RENAME TO plain;

SET lock_timeout = '5s';
ALTER TABLE plain ADD f int;
COMMENT ON COLUMN plain.f IS 'new';
CREATE INDEX ON plain (f);

ALTER TABLE plain SET SCHEMA archive;
ALTER TABLE archive.plain ADD f int;

SET search_path = archive, public;
ALTER TABLE things ADD b int;
ALTER TABLE plain ADD f int;

CREATE TEMP TABLE plain (a int);
ALTER TABLE plain ADD b int;

CREATE TABLE made (id int PRIMARY KEY, customer int);
ALTER TABLE made ADD FOREIGN KEY (customer) REFERENCES customers;
CREATE INDEX ON made (customer);

-- fails: that key is deferrable
ALTER TABLE employees ADD CONSTRAINT e FOREIGN KEY (id, department) REFERENCES employees;

UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'readings_a'::regclass;
ALTER TABLE readings DETACH PARTITION readings_a FINALIZE;

ALTER TABLE gear ADD PRIMARY KEY (id);

ALTER TABLE ONLY gear ADD PRIMARY KEY (id);

ALTER TABLE gear ALTER id SET NOT NULL;

ALTER TABLE orders ALTER id SET NOT NULL;

ALTER TABLE powered DROP COLUMN note;

ALTER TABLE gear DROP COLUMN note;

ALTER TABLE ONLY gear DROP COLUMN note;

ALTER TABLE gear DROP COLUMN note, ADD COLUMN note text DEFAULT random()::text;

ALTER TABLE powered ADD COLUMN id int;

ALTER TABLE powered DROP COLUMN kw, ADD COLUMN IF NOT EXISTS kw serial;

ALTER TABLE gear ADD COLUMN IF NOT EXISTS note text REFERENCES products (sku);

ALTER TABLE gear ADD COLUMN IF NOT EXISTS note serial;

ALTER TABLE gear ADD FOREIGN KEY (id) REFERENCES categories;

ALTER TABLE engines NO INHERIT gear;
ALTER TABLE gear ADD COLUMN extra int;

ALTER TABLE engines NO INHERIT gear, NO INHERIT powered;

ALTER TABLE voyage_fines ALTER voyage TYPE bigint;

ALTER TABLE voyage_fines ALTER voyage TYPE int;

ALTER TABLE refunds ALTER order_id TYPE bigint USING order_id;

ALTER TABLE visit_details ALTER visit TYPE int, ALTER detail TYPE varchar(5);

ALTER TABLE voyage_logs ADD FOREIGN KEY (voyage, day) REFERENCES voyages_2024;

ALTER TABLE voyages_2024 ADD FOREIGN KEY (ship) REFERENCES plain;

ALTER TABLE empty_parent ADD FOREIGN KEY (a) REFERENCES plain;

ALTER TABLE voyages DROP CONSTRAINT IF EXISTS no_such_constraint;

ALTER TABLE voyages ATTACH PARTITION voyages_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

CREATE TABLE made (LIKE voyages);
ALTER TABLE voyages_2024 ATTACH PARTITION made FOR VALUES FROM (100) TO (200);

ALTER TABLE voyages_2024 DETACH PARTITION voyages_2024_rest;
ALTER TABLE voyages_2024 ATTACH PARTITION voyages_2024_rest DEFAULT;

CREATE TABLE made PARTITION OF voyages FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
ALTER TABLE voyages DETACH PARTITION made;

ALTER TABLE order_items DETACH PARTITION order_items_old;
ALTER TABLE order_items ATTACH PARTITION order_items_old FOR VALUES FROM (MINVALUE) TO ('2024-01-01');

ALTER TABLE orders_2026 ADD FOREIGN KEY (customer) REFERENCES customers ON DELETE CASCADE;
ALTER TABLE orders ATTACH PARTITION orders_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');

ALTER TABLE narrow ADD CONSTRAINT n FOREIGN KEY (a) REFERENCES plain NOT VALID;
ALTER TABLE narrow VALIDATE CONSTRAINT n;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES plain NOT VALID;
ALTER TABLE narrow DROP COLUMN c;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES plain NOT VALID;
ALTER TABLE narrow DROP CONSTRAINT narrow_a_fkey;

ALTER TABLE unchecked ADD FOREIGN KEY (id) REFERENCES plain NOT VALID;
ALTER TABLE unchecked DROP COLUMN id;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES plain NOT VALID;
ALTER TABLE plain DROP CONSTRAINT plain_pkey CASCADE;

ALTER TABLE narrow ADD FOREIGN KEY (a) REFERENCES plain NOT VALID, DROP COLUMN c;

ALTER TABLE plain CLUSTER ON plain_d, REPLICA IDENTITY FULL;

ALTER TABLE plain SET WITHOUT CLUSTER, ALTER a SET STORAGE PLAIN;

ALTER TABLE visits DISABLE TRIGGER USER;

ALTER TABLE visits DISABLE TRIGGER ALL;

ALTER TABLE orders ENABLE ALWAYS TRIGGER orders_note, ALTER remark SET STORAGE EXTERNAL;

ALTER TABLE plain ALTER d SET STORAGE EXTERNAL, ALTER d SET COMPRESSION pglz;

ALTER TABLE narrow ADD FOREIGN KEY (c) REFERENCES plain NOT VALID;
ALTER TABLE narrow ALTER c TYPE bigint;

ALTER TABLE narrow ADD FOREIGN KEY (c) REFERENCES plain (e) NOT VALID;
ALTER TABLE plain ALTER e TYPE bigint;

ALTER TABLE narrow ADD FOREIGN KEY (c) REFERENCES plain NOT VALID, ALTER c TYPE bigint;

ALTER TABLE stock DROP CONSTRAINT stock_product_fkey, ALTER product TYPE bigint;

ALTER TABLE stock DROP CONSTRAINT stock_product_fkey;
ALTER TABLE stock ALTER product TYPE bigint, ADD CONSTRAINT stock_product_fkey FOREIGN KEY (product) REFERENCES products;

ALTER TABLE plain ALTER d TYPE text;
ALTER TABLE plain ALTER d TYPE varchar(20);

ALTER TABLE readings ADD COLUMN n int REFERENCES visits;
ALTER TABLE readings DETACH PARTITION readings_a;
DROP TABLE readings_a;

DROP INDEX plain_d;
ALTER TABLE plain ALTER d TYPE text;

ALTER TABLE engines NO INHERIT gear;
ALTER TABLE gear DROP CONSTRAINT gear_label;
