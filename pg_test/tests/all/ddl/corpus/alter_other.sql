ALTER INDEX plain_a RENAME TO plain_aa;

ALTER INDEX IF EXISTS no_such_index RENAME TO plain_aa;

ALTER INDEX plain_pkey RENAME TO plain_primary;

ALTER INDEX orders_customer RENAME TO oc;

ALTER INDEX plain_a SET TABLESPACE depot;

ALTER INDEX orders_customer SET TABLESPACE depot;

ALTER INDEX plain_a SET (fillfactor = 70);

ALTER INDEX plain_a RESET (fillfactor);

ALTER INDEX customers_fold ALTER COLUMN 1 SET STATISTICS 100;

ALTER INDEX orders_total ATTACH PARTITION orders_2023_total;

CREATE INDEX orders_2024_total ON orders_2024 (total);
ALTER INDEX orders_total ATTACH PARTITION orders_2024_total;

CREATE INDEX orders_2024_total ON orders_2024 (total);
CREATE INDEX orders_default_total ON orders_default (total);
ALTER INDEX orders_total ATTACH PARTITION orders_2024_total;
ALTER INDEX orders_total ATTACH PARTITION orders_default_total;

-- fails: no such index
ALTER INDEX fold_depends DEPENDS ON EXTENSION plpgsql;

ALTER INDEX plain_a DEPENDS ON EXTENSION plpgsql;

ALTER INDEX plain_a NO DEPENDS ON EXTENSION plpgsql;

ALTER MATERIALIZED VIEW sales DEPENDS ON EXTENSION plpgsql;

ALTER TRIGGER customers_touch ON customers DEPENDS ON EXTENSION plpgsql;

ALTER FUNCTION fold(text) DEPENDS ON EXTENSION plpgsql;

ALTER SEQUENCE free_numbers RESTART;

ALTER SEQUENCE free_numbers INCREMENT 5 MAXVALUE 1000;

ALTER SEQUENCE free_numbers OWNED BY plain.id;

ALTER SEQUENCE free_numbers OWNED BY NONE;

ALTER SEQUENCE invoice_numbers OWNED BY NONE;

ALTER SEQUENCE invoice_numbers OWNED BY invoices.customer;

ALTER SEQUENCE ticket_numbers OWNED BY tickets.no;

ALTER SEQUENCE free_numbers AS int;

ALTER SEQUENCE ticket_numbers CACHE 10 RESTART WITH 100;

ALTER SEQUENCE free_numbers RENAME TO freed_numbers;

ALTER SEQUENCE free_numbers SET SCHEMA archive;

ALTER SEQUENCE free_numbers OWNER TO clerk;

ALTER SEQUENCE free_numbers SET UNLOGGED;

ALTER SEQUENCE IF EXISTS no_such_sequence RESTART;

ALTER SEQUENCE products_id_seq RESTART;

ALTER SEQUENCE customers_id_seq RESTART WITH 50;

ALTER SEQUENCE archive.numbers RESTART;

ALTER VIEW lonely_view RENAME TO view_alone;

ALTER VIEW lonely_view RENAME COLUMN a TO aa;

ALTER VIEW customer_names RENAME COLUMN name TO full_name;

ALTER VIEW IF EXISTS no_such_view RENAME TO view_alone;

ALTER VIEW lonely_view SET SCHEMA archive;

ALTER VIEW lonely_view OWNER TO clerk;

ALTER VIEW customer_names SET (security_barrier = true);

ALTER VIEW customer_names RESET (security_barrier);

ALTER VIEW customer_names ALTER name DROP DEFAULT;

ALTER VIEW customer_names OWNER TO clerk;

ALTER MATERIALIZED VIEW sales RENAME TO turnover;

ALTER MATERIALIZED VIEW sales RENAME COLUMN total TO sum;

ALTER MATERIALIZED VIEW sales SET SCHEMA archive;

ALTER MATERIALIZED VIEW sales OWNER TO clerk;

ALTER MATERIALIZED VIEW sales SET TABLESPACE depot;

ALTER MATERIALIZED VIEW sales SET (fillfactor = 80);

ALTER MATERIALIZED VIEW sales CLUSTER ON sales_customer;

ALTER MATERIALIZED VIEW sales SET WITHOUT CLUSTER;

ALTER MATERIALIZED VIEW sales ALTER total SET STATISTICS 100;

ALTER MATERIALIZED VIEW sales ALTER total SET STORAGE EXTERNAL;

ALTER MATERIALIZED VIEW sales SET ACCESS METHOD heap;

ALTER MATERIALIZED VIEW IF EXISTS no_such_matview RENAME TO a;

ALTER MATERIALIZED VIEW ALL IN TABLESPACE depot SET TABLESPACE pg_default;

ALTER TYPE mood ADD VALUE 'great';

ALTER TYPE mood ADD VALUE IF NOT EXISTS 'ok';

ALTER TYPE mood ADD VALUE 'fair' BEFORE 'ok';

ALTER TYPE mood RENAME VALUE 'ok' TO 'okay';

ALTER TYPE mood RENAME TO state_of_mind;

ALTER TYPE mood SET SCHEMA archive;

ALTER TYPE mood OWNER TO clerk;

ALTER TYPE person ADD ATTRIBUTE nick text CASCADE;

ALTER TYPE person DROP ATTRIBUTE born CASCADE;

ALTER TYPE person ALTER ATTRIBUTE born TYPE timestamp CASCADE;

ALTER TYPE person RENAME ATTRIBUTE born TO birthday CASCADE;

ALTER TYPE person RENAME TO human;

ALTER TYPE person OWNER TO clerk;

ALTER TYPE person SET SCHEMA archive;

ALTER TYPE address ADD ATTRIBUTE city text;

ALTER TYPE address DROP ATTRIBUTE zip;

ALTER TYPE address DROP ATTRIBUTE IF EXISTS no_such_attribute;

ALTER TYPE address RENAME ATTRIBUTE zip TO code;

ALTER TYPE lonely_type ADD ATTRIBUTE b int, DROP ATTRIBUTE a;

ALTER TYPE lonely_type ALTER ATTRIBUTE a TYPE bigint;

ALTER TYPE lonely_type ALTER ATTRIBUTE a SET DATA TYPE text CASCADE;

ALTER TYPE lonely_type RENAME TO lone;

ALTER TYPE lonely_type RENAME ATTRIBUTE a TO b;

ALTER TYPE span RENAME TO range_of_numbers;

ALTER TYPE archive.size SET SCHEMA public;

ALTER DOMAIN positive ADD CHECK (VALUE < 100000);

ALTER DOMAIN positive ADD CONSTRAINT p CHECK (VALUE < 100000) NOT VALID;

ALTER DOMAIN positive ADD CONSTRAINT p CHECK (VALUE < 100000) NOT VALID;
ALTER DOMAIN positive VALIDATE CONSTRAINT p;

ALTER DOMAIN small_positive ADD CHECK (VALUE <> 999);

ALTER DOMAIN small_positive VALIDATE CONSTRAINT is_small;

ALTER DOMAIN small_positive SET NOT NULL;

ALTER DOMAIN small_positive DROP NOT NULL;

ALTER DOMAIN small_positive DROP CONSTRAINT is_small;

ALTER DOMAIN small_positive DROP CONSTRAINT IF EXISTS no_such_constraint;

ALTER DOMAIN mail SET DEFAULT 'a@b';

ALTER DOMAIN mail DROP DEFAULT;

ALTER DOMAIN mail RENAME TO e_mail;

ALTER DOMAIN mail RENAME CONSTRAINT has_at TO at;

ALTER DOMAIN mail SET SCHEMA archive;

ALTER DOMAIN mail OWNER TO clerk;

ALTER DOMAIN mail ADD CHECK (length(VALUE) > 3);

ALTER DOMAIN home ADD CHECK ((VALUE).zip <> '');

ALTER DOMAIN lonely_domain SET NOT NULL;

ALTER TRIGGER customers_touch ON customers RENAME TO t;

ALTER TRIGGER orders_touch ON orders RENAME TO t;

ALTER RULE invoices_log ON invoices RENAME TO r;

ALTER RULE writable_insert ON writable RENAME TO r;

ALTER POLICY members_read ON documents RENAME TO p;

ALTER POLICY members_read ON documents TO clerk;

ALTER POLICY members_read ON documents USING (true);

ALTER POLICY members_read ON documents USING (EXISTS (SELECT FROM customers));

ALTER POLICY owners_write ON documents TO helper USING (true) WITH CHECK (body IN (SELECT b FROM plain));

ALTER STATISTICS customers_stats RENAME TO s;

ALTER STATISTICS customers_stats SET STATISTICS 100;

ALTER STATISTICS IF EXISTS no_such_statistics SET STATISTICS 100;

ALTER STATISTICS customers_stats SET SCHEMA archive;

ALTER STATISTICS customers_stats OWNER TO clerk;

ALTER PUBLICATION some_tables ADD TABLE lonely_table;

ALTER PUBLICATION some_tables ADD TABLE vehicles;

ALTER PUBLICATION some_tables ADD TABLE ONLY vehicles;

ALTER PUBLICATION some_tables ADD TABLE events, categories (id, title);

ALTER PUBLICATION some_tables DROP TABLE customers;

ALTER PUBLICATION some_tables DROP TABLE customers, orders;

ALTER PUBLICATION some_tables SET TABLE customers, lonely_table;

ALTER PUBLICATION some_tables SET TABLE orders;

ALTER PUBLICATION some_tables SET (publish = 'insert, truncate');

ALTER PUBLICATION some_tables SET (publish_via_partition_root = true);

ALTER PUBLICATION all_tables SET (publish = 'insert, delete');

ALTER PUBLICATION some_tables RENAME TO p;

ALTER PUBLICATION some_tables OWNER TO CURRENT_USER;

ALTER PUBLICATION no_tables ADD TABLES IN SCHEMA archive;

ALTER PUBLICATION no_tables ADD TABLES IN SCHEMA public, TABLE archive.things;

ALTER PUBLICATION whole_schema DROP TABLES IN SCHEMA archive;

ALTER PUBLICATION whole_schema SET TABLES IN SCHEMA public;

ALTER PUBLICATION no_tables SET TABLE plain WHERE (a > 0);

ALTER SCHEMA archive RENAME TO attic;

ALTER SCHEMA archive OWNER TO clerk;

ALTER FUNCTION fold(text) RENAME TO folded;

ALTER FUNCTION fold(text) STRICT;

ALTER FUNCTION touch() OWNER TO clerk;

ALTER COLLATION german RENAME TO deutsch;

ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO clerk;

ALTER ROLE clerk SET work_mem = '1MB';

ALTER SERVER far_away OPTIONS (ADD host 'x');

REASSIGN OWNED BY clerk TO manager;

REASSIGN OWNED BY clerk, helper TO manager;

REASSIGN OWNED BY manager TO clerk;

ALTER OPERATOR <<< (int, int) OWNER TO clerk;

ALTER AGGREGATE join_all(text) RENAME TO joined;

ALTER EXTENSION plpgsql ADD TABLE lonely_table;

ALTER EXTENSION plpgsql ADD VIEW lonely_view;

ALTER EXTENSION plpgsql ADD SEQUENCE free_numbers;

ALTER EXTENSION plpgsql ADD FUNCTION lonely(int);

ALTER EXTENSION plpgsql ADD TABLE plain;
ALTER EXTENSION plpgsql DROP TABLE plain;

COMMENT ON TABLE plain IS 'plain';

COMMENT ON TABLE orders IS 'purchases';

COMMENT ON COLUMN plain.a IS 'a';

COMMENT ON COLUMN customer_names.name IS 'the name';

COMMENT ON COLUMN address.zip IS 'code';

COMMENT ON INDEX plain_a IS 'index';

COMMENT ON INDEX orders_customer IS 'index';

COMMENT ON SEQUENCE free_numbers IS 'free';

COMMENT ON VIEW lonely_view IS 'alone';

COMMENT ON MATERIALIZED VIEW sales IS 'sold';

COMMENT ON FOREIGN TABLE remote IS 'far';

COMMENT ON CONSTRAINT stock_key ON stock IS 'unique';

COMMENT ON CONSTRAINT is_small ON DOMAIN small_positive IS 'small';

COMMENT ON TRIGGER customers_touch ON customers IS 'touch';

COMMENT ON RULE invoices_log ON invoices IS 'log';

COMMENT ON POLICY members_read ON documents IS 'read';

COMMENT ON STATISTICS customers_stats IS 'stats';

COMMENT ON TYPE mood IS 'mood';

COMMENT ON DOMAIN mail IS 'mail';

COMMENT ON FUNCTION fold(text) IS 'fold';

COMMENT ON SCHEMA archive IS 'old';

COMMENT ON PUBLICATION some_tables IS 'some';

COMMENT ON TABLE plain IS NULL;

GRANT SELECT ON plain TO clerk;

GRANT SELECT, INSERT ON plain, orders TO clerk, manager WITH GRANT OPTION;

GRANT UPDATE (a, b) ON plain TO clerk;

GRANT ALL ON ALL TABLES IN SCHEMA archive TO clerk;

GRANT USAGE ON ALL SEQUENCES IN SCHEMA archive, public TO clerk;

GRANT USAGE ON SEQUENCE free_numbers TO clerk;

GRANT EXECUTE ON FUNCTION fold(text) TO clerk;

GRANT USAGE ON SCHEMA archive TO manager;

GRANT USAGE ON TYPE mood TO clerk;

GRANT clerk TO manager;

REVOKE SELECT ON customers FROM clerk;

REVOKE UPDATE (a) ON plain FROM clerk;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM clerk CASCADE;

REVOKE ALL ON sales, lonely_view FROM PUBLIC;

-- fails: no provider of labels is loaded
SECURITY LABEL ON TABLE plain IS 'secret';

ALTER DOMAIN lonely_domain SET NOT NULL;
ALTER DOMAIN lonely_domain DROP NOT NULL;

ALTER DOMAIN filled SET NOT NULL;

ALTER DOMAIN filled DROP NOT NULL;
