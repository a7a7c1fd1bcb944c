DROP TABLE lonely_table;

DROP TABLE lonely_table RESTRICT;

DROP TABLE IF EXISTS lonely_table, no_such_table;

DROP TABLE IF EXISTS no_such_table;

DROP TABLE IF EXISTS no_such_schema.no_such_table CASCADE;

DROP TABLE lonely_table, narrow, old_cars;

DROP TABLE plain CASCADE;

DROP TABLE customers CASCADE;

DROP TABLE products CASCADE;

DROP TABLE warehouses CASCADE;

DROP TABLE stock;

DROP TABLE price_list;

DROP TABLE unchecked;

DROP TABLE departments, employees;

DROP TABLE departments CASCADE;

DROP TABLE employees CASCADE;

DROP TABLE categories CASCADE;

DROP TABLE orders CASCADE;

DROP TABLE orders, order_items, refunds CASCADE;

DROP TABLE order_items CASCADE;

DROP TABLE orders_2023 CASCADE;

DROP TABLE orders_2024 CASCADE;

DROP TABLE orders_default CASCADE;

DROP TABLE orders_2025;

DROP TABLE order_items_old;

DROP TABLE refunds;

DROP TABLE events;

DROP TABLE events_2023;

DROP TABLE events_2023_click;

DROP TABLE events_rest;

DROP TABLE events_rest_0;

DROP TABLE events_2024;

DROP TABLE readings;

DROP TABLE readings_b;

DROP TABLE visits CASCADE;

DROP TABLE visits_1 CASCADE;

DROP TABLE visit_details;

DROP TABLE empty_parent;

DROP TABLE vehicles CASCADE;

DROP TABLE cars CASCADE;

DROP TABLE amphibians;

DROP TABLE sports_cars;

DROP TABLE boats CASCADE;

DROP TABLE amphibians, boats CASCADE;

DROP TABLE old_things CASCADE;

DROP TABLE old_cars;

DROP TABLE staff CASCADE;

DROP TABLE guests;

DROP TABLE letters CASCADE;

DROP TABLE scratch CASCADE;

DROP TABLE bookings;

DROP TABLE "Mixed Case"."Odd Table" CASCADE;

DROP TABLE "Mixed Case"."Child";

DROP TABLE memberships CASCADE;

DROP TABLE documents;

DROP TABLE audit_log CASCADE;

DROP TABLE invoices;

DROP TABLE invoices CASCADE;

DROP TABLE tickets CASCADE;

DROP TABLE serials;

DROP TABLE archive.old_orders CASCADE;

DROP TABLE archive.old_items;

DROP TABLE archive.things;

DROP TABLE moved;

DROP TABLE clerk_notes CASCADE;

DROP TABLE feelings, compared, shirts;

DROP TABLE public.lonely_table;

SET search_path = archive;
DROP TABLE things;

/* a comment */ DROP TABLE -- and another
  lonely_table /* ; */ ;

DROP INDEX narrow_a;

DROP INDEX narrow_a, narrow_b;

DROP INDEX IF EXISTS no_such_index;

DROP INDEX IF EXISTS narrow_a, no_such_index CASCADE;

DROP INDEX customers_fold;

DROP INDEX orders_customer;

DROP INDEX orders_total;

DROP INDEX events_id;

DROP INDEX events_key;

DROP INDEX orders_2024_remark;

DROP INDEX sales_customer;

DROP INDEX "Mixed Case"."Odd Index";

DROP INDEX archive.old_items_what;

DROP INDEX moved_body;

DROP INDEX plain_a;

DROP VIEW lonely_view;

DROP VIEW IF EXISTS lonely_view, no_such_view;

DROP VIEW IF EXISTS no_such_view;

DROP VIEW customer_names CASCADE;

DROP VIEW customer_greetings CASCADE;

DROP VIEW order_totals;

DROP VIEW taxed, plain_rows;

DROP VIEW writable;

DROP VIEW triggered;

DROP VIEW best;

DROP VIEW fleet;

DROP VIEW archive.customer_orders;

DROP VIEW clerk_view CASCADE;

DROP VIEW "Mixed Case"."Odd View";

DROP VIEW old_order_ids RESTRICT;

DROP MATERIALIZED VIEW lonely_matview;

DROP MATERIALIZED VIEW sales CASCADE;

DROP MATERIALIZED VIEW sales_ranks CASCADE;

DROP MATERIALIZED VIEW unfilled;

DROP MATERIALIZED VIEW IF EXISTS no_such_matview, unfilled;

DROP SEQUENCE free_numbers;

DROP SEQUENCE ticket_numbers CASCADE;

DROP SEQUENCE invoice_numbers CASCADE;

DROP SEQUENCE products_id_seq CASCADE;

DROP SEQUENCE IF EXISTS free_numbers, no_such_sequence;

DROP SEQUENCE free_numbers, archive.numbers;

DROP SEQUENCE serials_b_seq CASCADE;

DROP FOREIGN TABLE remote;

DROP FOREIGN TABLE remote_child;

DROP FOREIGN TABLE IF EXISTS no_such_foreign_table, remote CASCADE;

DROP SERVER far_away CASCADE;

DROP FOREIGN DATA WRAPPER nowhere CASCADE;

DROP SCHEMA archive CASCADE;

DROP SCHEMA "Mixed Case" CASCADE;

DROP SCHEMA clerks CASCADE;

DROP SCHEMA clerks, archive CASCADE;

DROP SCHEMA IF EXISTS no_such_schema CASCADE;

DROP SCHEMA public CASCADE;

DROP OWNED BY clerk CASCADE;

DROP OWNED BY helper;

DROP OWNED BY manager;

DROP OWNED BY clerk, helper CASCADE;

REASSIGN OWNED BY clerk TO manager;
DROP OWNED BY clerk;

REASSIGN OWNED BY clerk TO helper;
REASSIGN OWNED BY helper TO manager;
DROP OWNED BY helper, manager CASCADE;

ALTER TABLE orders OWNER TO helper;
ALTER VIEW order_totals OWNER TO helper;
DROP OWNED BY helper CASCADE;

ALTER TABLE clerk_notes OWNER TO manager;
DROP OWNED BY clerk CASCADE;

ALTER TABLE products OWNER TO helper;
REASSIGN OWNED BY helper TO manager;
DROP OWNED BY manager CASCADE;

CREATE POLICY made ON plain TO helper USING (true);
DROP OWNED BY helper;

DROP TYPE lonely_type;

DROP TYPE mood CASCADE;

DROP TYPE address CASCADE;

DROP TYPE person CASCADE;

DROP TYPE span CASCADE;

DROP TYPE archive.size CASCADE;

DROP TYPE IF EXISTS no_such_type;

DROP TYPE IF EXISTS lonely_type, no_such_type CASCADE;

DROP DOMAIN lonely_domain;

DROP DOMAIN positive CASCADE;

DROP DOMAIN small_positive CASCADE;

DROP DOMAIN mail CASCADE;

DROP DOMAIN home CASCADE;

DROP DOMAIN IF EXISTS no_such_domain CASCADE;

DROP FUNCTION lonely(int);

DROP FUNCTION lonely;

DROP FUNCTION next_code() CASCADE;

DROP FUNCTION is_sane(numeric) CASCADE;

DROP FUNCTION fold(text) CASCADE;

DROP FUNCTION with_tax(numeric) CASCADE;

DROP FUNCTION with_tax CASCADE;

DROP FUNCTION touch() CASCADE;

DROP FUNCTION note CASCADE;

DROP FUNCTION lonely_trigger();

DROP FUNCTION count_boats() CASCADE;

DROP FUNCTION clerk_function() CASCADE;

DROP FUNCTION less(int, int) CASCADE;

DROP FUNCTION IF EXISTS no_such_function(int);

DROP FUNCTION IF EXISTS lonely(int), no_such_function(text) CASCADE;

DROP ROUTINE lonely;

DROP ROUTINE with_tax(numeric) CASCADE;

DROP AGGREGATE join_all(text) CASCADE;

DROP FUNCTION join_texts(text, text) CASCADE;

DROP OPERATOR <<< (int, int) CASCADE;

DROP COLLATION german CASCADE;

DROP COLLATION IF EXISTS no_such_collation;

DROP TRIGGER customers_touch ON customers;

DROP TRIGGER customers_note ON customers CASCADE;

DROP TRIGGER IF EXISTS no_such_trigger ON customers;

DROP TRIGGER IF EXISTS no_such_trigger ON no_such_table;

DROP TRIGGER orders_touch ON orders;

DROP TRIGGER orders_note ON orders;

DROP TRIGGER triggered_insert ON triggered;

DROP RULE invoices_log ON invoices;

DROP RULE invoices_keep ON invoices;

DROP RULE writable_insert ON writable;

DROP RULE IF EXISTS no_such_rule ON invoices;

DROP RULE IF EXISTS no_such_rule ON no_such_table;

DROP POLICY members_read ON documents;

DROP POLICY owners_write ON documents;

DROP POLICY IF EXISTS no_such_policy ON documents;

DROP POLICY IF EXISTS no_such_policy ON no_such_table;

DROP STATISTICS customers_stats;

DROP STATISTICS customers_stats, customers_stats_expression;

DROP STATISTICS orders_stats;

DROP STATISTICS IF EXISTS no_such_statistics;

DROP PUBLICATION some_tables;

DROP PUBLICATION all_tables;

DROP PUBLICATION whole_schema;

DROP PUBLICATION no_tables;

DROP PUBLICATION IF EXISTS no_such_publication, some_tables;

DROP TABLE lonely_table;
CREATE TABLE lonely_table (b text);
DROP TABLE lonely_table;

DROP VIEW plain_rows;
DROP TABLE plain;

ALTER TABLE narrow RENAME TO wide;
DROP TABLE wide;

CREATE TABLE made (id int REFERENCES customers);
DROP TABLE made;

DROP SCHEMA clerks CASCADE;
CREATE SCHEMA clerks;
CREATE TABLE clerks.own (a int);

DROP EXTENSION IF EXISTS no_such_extension;

DROP EXTENSION plpgsql CASCADE;

DROP CAST IF EXISTS (mood AS text);

DROP OPERATOR CLASS IF EXISTS no_such_class USING btree;

DROP TEXT SEARCH CONFIGURATION IF EXISTS no_such_configuration;
