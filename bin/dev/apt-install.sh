#!/bin/sh
# Installs Debian packages (the arguments). Run as root by setup.mjs.
#
# A daemon that comes with a package which is new here (slapd, sshd, rsync) is neither started nor
# left enabled. A daemon that was installed before is not touched, not even when apt-get has to
# upgrade its package: it is restarted then, as by any upgrade.
set -eu
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# one at a time on this machine, or the first to end would take away the policy of the other
[ "${LIVE_SYNCD_APT:-}" = locked ] ||
	exec env LIVE_SYNCD_APT=locked flock --close --timeout 1500 /var/lib/dpkg sh "$0" "$@"

say() { echo "set-up: $*" >&2; }

is_new() { # never configured here, or removed again
	case $(dpkg-query --show --showformat='${db:Status-Status} ${Config-Version}' "$1" 2>&1) in
	config-files\ * | not-installed\ * | unpacked\ | half-*\ | *no\ packages\ found*) true ;;
	*) false ;;
	esac
}

services=
for package; do
	if is_new "$package"; then
		case $package in
		slapd) services="$services slapd" ;;
		openssh-server) services="$services ssh" ;;
		rsync) services="$services rsync" ;;
		esac
	fi
done

# Packages start their daemons through invoke-rc.d, which asks policy-rc.d first. A policy that is
# there already (container images have one) stays as it is. Ours binds only while this process
# lives, so that nothing is held back for good if it is killed outright; the file is then the sign
# for the next set-up that daemons may have been left enabled.
policy=/usr/sbin/policy-rc.d
our_mark='# live-syncd set-up:'
if [ -e $policy ] && grep -q "^$our_mark" $policy; then
	for service in $(sed -n "s/^$our_mark//p" $policy); do
		if service "$service" status >/dev/null 2>&1; then
			say "an earlier set-up was killed. It may be why $service runs on this machine; if you do not"
			say "use it: systemctl disable --now $service"
		else
			case "$services " in *" $service "*) ;; *) services="$services $service" ;; esac
		fi
	done
	rm -f $policy
fi

quieten() { # "service" and not invoke-rc.d, which the policy would keep from stopping it
	for service in $services; do
		service "$service" stop >/dev/null 2>&1 || true
		[ ! -e "/etc/init.d/$service" ] || update-rc.d "$service" disable >/dev/null 2>&1 || true
		for unit in "$service.service" "$service.socket"; do
			deb-systemd-helper disable "$unit" >/dev/null 2>&1 || true
		done
	done
	[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
}

log=$(mktemp)
our_policy=
clean_up() {
	quieten
	[ -z "$our_policy" ] || rm -f $policy
	rm -f "$log"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -n "$services" ] && [ ! -e $policy ]; then
	our_policy=yes
	cat >$policy <<-END
		#!/bin/sh
		$our_mark$services
		kill -0 $$ 2>/dev/null || exit 0
		for service in$services; do
			case \$1 in \$service | \$service.*) exit 101 ;; esac
		done
		exit 0
	END
	chmod 755 $policy
fi

# slapd: no database of its own either
! command -v debconf-set-selections >/dev/null || case $services in
*slapd*) echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections ;;
esac

apt() { # nothing is removed, no configuration file of the machine is replaced, no endless waiting
	timeout --foreground --kill-after=60 900 apt-get --quiet=2 --yes --no-remove \
		--option DPkg::Lock::Timeout=300 --option Dpkg::Use-Pty=0 \
		--option Acquire::Retries=3 --option Acquire::http::Timeout=30 --option Acquire::https::Timeout=30 \
		--option Dpkg::Options::=--force-confdef --option Dpkg::Options::=--force-confold \
		"$@" </dev/null >>"$log" 2>&1
}
install() { apt install --no-install-recommends "$@"; }

# The lists of packages may be missing or old, an earlier installation may have been cut off: this is
# mended when the plain attempt fails.
if [ $# -gt 0 ] && ! install "$@"; then
	say "trying again after dpkg --configure -a and apt-get update"
	dpkg --configure -a --force-confdef --force-confold </dev/null >>"$log" 2>&1 || true
	apt update || true
	install "$@" || {
		cat "$log" >&2
		say "apt-get could not install: $*"
		exit 1
	}
fi
[ -z "$services" ] || say "not started and not enabled:$services"
