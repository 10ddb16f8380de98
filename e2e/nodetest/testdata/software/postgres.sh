# A database on an empty volume, with a role that is logged in by certificate.
set -eu
export PGDATA=/var/lib/postgresql/data/main
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth=reject --no-sync >/dev/null
  echo 'CREATE ROLE app LOGIN' | postgres --single postgres >/dev/null
fi
exec postgres \
  -c listen_addresses='*' -c unix_socket_directories=/tmp \
  -c hba_file=/etc/postgresql/pg_hba.conf -c ident_file=/etc/postgresql/pg_ident.conf \
  -c ssl=on -c ssl_cert_file="$MTLS_SERVER_CERT" -c ssl_key_file="$MTLS_SERVER_KEY" -c ssl_ca_file="$MTLS_CA_CERT"
