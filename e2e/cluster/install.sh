# Installs the distribution's PostgreSQL server, without letting it start a cluster of its own.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends postgresql-common
dropin=/etc/postgresql-common/createcluster.d/awa-counterd.conf
mkdir -p "$(dirname "$dropin")"
echo 'create_main_cluster = false' >"$dropin"
trap 'rm -f "$dropin"' EXIT
apt-get install -y -q --no-install-recommends postgresql
