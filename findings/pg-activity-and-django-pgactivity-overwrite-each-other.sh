#!/usr/bin/env bash
# pg-activity 3.6.2 and django-pgactivity 1.8.0 (PyPI). Both install a Python package named pgactivity, with files of the same names: the one
# that is installed last overwrites the other's, pip says nothing, and the other no longer starts. django-pglock needs django-pgactivity, so
# that a Django project with django-pglock and pg_activity for its administrators in one environment has one of the two.
. "$(dirname "$0")/lib.sh"
python_with django==5.2.19 psycopg==3.3.9 psycopg-binary==3.3.9 django-pgactivity==1.8.0
python=$folder/python/bin/python
imports() { "$python" -c 'import pgactivity.core' 2>&1 | tail -n 1 | sed 's/^$/fine/'; }
state() { out=$(imports); echo "${out:-fine}"; }

seen "django-pgactivity alone" "$(state)" fine
"$folder/python/bin/pip" -q --disable-pip-version-check install pg-activity==3.6.2 >"$folder/pip" 2>&1
seen "what pip says of pg-activity beside it" "$(cat "$folder/pip")" ""
seen "django-pgactivity after that" "$(state)" "AttributeError: module 'pgactivity.utils' has no attribute 'psycopg_maj_version'"
