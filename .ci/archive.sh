# Debian's archive, for scripts beside this one: sourced by them, in the folder of the project. They set `folder`, where they put things,
# and `state`, a folder for apt: it is configured as on this machine (proxies, mirror; DEBIAN_MIRROR=URL names another one), but has lists
# and a state of its own, so that no suite is added to the machine.
# shellcheck shell=sh
# shellcheck disable=SC2154

# Where this machine gets Debian's packages from.
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null || true)
mirror=${DEBIAN_MIRROR:-$(echo "$mirrors" | grep -m 1 '/debian/*$' || true)}
if [ -z "$mirror" ]; then
	echo "apt on this machine names no mirror of Debian: set DEBIAN_MIRROR to one" | tee "$folder/unreachable" >&2
	exit 3
fi
mirror=${mirror%/}
security=$(echo "$mirrors" | grep -m 1 '/debian-security/*$' || echo "${mirror%/*}/debian-security")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# An apt for one CPU and these suites; its errors go into a log. 0: the lists are there.
configure() { # CPU SUITE...
	cpu=$1
	shift
	apt=$state/$cpu
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/trusted"
	: >"$apt/status"
	options=
	[ ! -r "$keyring" ] || options=" signed-by=$keyring"
	: >"$apt/sources.list"
	for suite in "$@"; do
		case $suite in
		*-security) echo "deb [arch=$cpu$options] $security $suite main" ;;
		*) echo "deb [arch=$cpu$options] $mirror $suite main" ;;
		esac >>"$apt/sources.list"
	done
	cat >"$apt/apt.conf" <<-CONF
		Dir::State "$apt";
		Dir::State::status "$apt/status";
		Dir::State::lists "$apt/lists";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		APT::Architecture "$cpu";
		APT::Architectures { "$cpu"; };
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		Acquire::Retries "2";
		Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	CONF
	APT_CONFIG=$apt/apt.conf apt-get update >"$apt/log" 2>&1
}

# Whether anything at all came back from the archive: a list, or an answer that is a refusal.
was_reached() {
	find "$apt/lists" -type f -size +0 ! -name lock | grep -q . || grep -q ' 4[0-9][0-9] ' "$apt/log"
}

download() { # CPU PACKAGE[=VERSION] FOLDER
	(cd "$3" && APT_CONFIG=$state/$1/apt.conf apt-get download "$2" >>"$state/$1/log" 2>&1)
}
