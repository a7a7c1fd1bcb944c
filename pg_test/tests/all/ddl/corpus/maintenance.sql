TRUNCATE plain;

TRUNCATE TABLE plain, narrow;

TRUNCATE ONLY plain;

TRUNCATE customers CASCADE;

TRUNCATE customers RESTART IDENTITY CASCADE;

TRUNCATE products CASCADE;

TRUNCATE warehouses, stock;

TRUNCATE warehouses CASCADE;

TRUNCATE stock CONTINUE IDENTITY RESTRICT;

TRUNCATE categories CASCADE;

TRUNCATE departments, employees;

TRUNCATE departments CASCADE;

TRUNCATE orders CASCADE;

TRUNCATE orders, order_items, refunds;

TRUNCATE orders_2023 CASCADE;

TRUNCATE order_items;

TRUNCATE order_items_old;

TRUNCATE ONLY orders_2023 CASCADE;

TRUNCATE events;

TRUNCATE events_2023;

TRUNCATE events_rest_0;

TRUNCATE visits CASCADE;

TRUNCATE vehicles;

TRUNCATE ONLY vehicles;

TRUNCATE ONLY cars, boats;

TRUNCATE cars;

TRUNCATE serials RESTART IDENTITY;

TRUNCATE invoices RESTART IDENTITY;

TRUNCATE tickets RESTART IDENTITY;

TRUNCATE archive.old_orders CASCADE;

TRUNCATE "Mixed Case"."Odd Table" CASCADE;

TRUNCATE documents;

TRUNCATE scratch;

TRUNCATE moved;

LOCK TABLE plain;

LOCK plain IN ACCESS SHARE MODE;

LOCK plain IN ROW SHARE MODE;

LOCK plain IN ROW EXCLUSIVE MODE;

LOCK plain IN SHARE UPDATE EXCLUSIVE MODE;

LOCK plain IN SHARE MODE;

LOCK plain, narrow IN SHARE ROW EXCLUSIVE MODE;

LOCK plain IN EXCLUSIVE MODE NOWAIT;

LOCK TABLE orders IN SHARE MODE;

LOCK TABLE ONLY orders IN SHARE MODE;

LOCK TABLE vehicles IN SHARE MODE;

LOCK TABLE ONLY vehicles;

LOCK TABLE customer_names IN SHARE MODE;

LOCK TABLE customer_greetings;

LOCK TABLE order_totals IN ROW SHARE MODE;

LOCK TABLE fleet IN SHARE MODE;

LOCK TABLE events, archive.customer_orders;

CLUSTER plain USING plain_d;

CLUSTER plain;

CLUSTER VERBOSE plain USING plain_pkey;

CLUSTER customers USING customers_pkey;

CLUSTER stock USING stock_key;

CLUSTER narrow USING narrow_a;

CLUSTER sales USING sales_customer;

CLUSTER orders_2023 USING orders_2023_pkey;

CLUSTER cars USING cars_doors;

CLUSTER moved USING moved_body;

ANALYZE plain;

ANALYZE plain (a, b), narrow;

ANALYZE VERBOSE plain;

ANALYZE (SKIP_LOCKED) plain;

ANALYZE customers;

ANALYZE orders;

ANALYZE orders_2023;

ANALYZE events;

ANALYZE vehicles;

ANALYZE cars;

ANALYZE sales;

DROP FOREIGN DATA WRAPPER nowhere CASCADE;
ANALYZE;

ANALYZE bookings, archive.old_orders;

ANALYZE old_cars;

REINDEX INDEX plain_a;

REINDEX INDEX plain_pkey;

REINDEX INDEX customers_fold;

REINDEX (VERBOSE) INDEX narrow_a;

REINDEX (TABLESPACE depot) INDEX narrow_a;

REINDEX TABLE plain;

REINDEX TABLE narrow;

REINDEX TABLE customers;

REINDEX TABLE orders_2023;

REINDEX (TABLESPACE depot) TABLE plain;

REINDEX TABLE sales;

REINDEX TABLE vehicles;

REINDEX TABLE bookings;

REINDEX TABLE lonely_table;

REINDEX INDEX orders_2023_pkey;

REINDEX INDEX sales_customer;

REFRESH MATERIALIZED VIEW sales;

REFRESH MATERIALIZED VIEW CONCURRENTLY sales;

REFRESH MATERIALIZED VIEW sales WITH NO DATA;

REFRESH MATERIALIZED VIEW sales_ranks;

REFRESH MATERIALIZED VIEW unfilled;

REFRESH MATERIALIZED VIEW lonely_matview;

REFRESH MATERIALIZED VIEW clerk_matview WITH DATA;

DISCARD PLANS;

DISCARD SEQUENCES;

SET CONSTRAINTS ALL DEFERRED;

SET CONSTRAINTS employees_department_fkey DEFERRED;

CHECKPOINT;

SAVEPOINT a;
LOCK TABLE plain IN SHARE MODE;
RELEASE a;

SET LOCAL lock_timeout = '1s';
TRUNCATE plain;

SHOW search_path;

NOTIFY somebody;

LISTEN somebody;
