//! What the script does besides its files, in the words of sh(1).

/// How it is called, what it deletes and where. Each message names the script.
pub(super) const OPENING: &str = r#"
set -eu
umask 022
place=/etc/firewalld
word=
for argument in "$@"; do
    case $argument in
    */*) place=$argument ;;
    delete | without-ssh) word=$argument ;;
    *)
        echo "usage: sh $0 [delete|without-ssh] [DIRECTORY]" >&2
        exit 2
        ;;
    esac
done
if [ ! -d "$place" ]; then
    echo "$0: there is no $place: install firewalld, or name a directory" >&2
    exit 1
fi
"#;

pub(super) const REQUIRES_SSH: &str = r#"
if [ -z "$word" ]; then
    echo "$0: nobody was seen who comes by ssh (TCP port 22), and they would be refused." >&2
    echo "$0: have a policy or zone accept it and type sh $0 without-ssh" >&2
    exit 1
fi
"#;

/// Files of others keep their names. New ones are made beside the old ones and then take their place.
pub(super) const BEFORE_FILES: &str = r#"
mkdir -p "$place/ipsets" "$place/policies"
new=$(mktemp -d "$place/.conntrack.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/ipsets" "$new/policies" "$new/old" "$new/old/ipsets" "$new/old/policies"

# Moves what conntrack made from one directory to another.
take() {
    for file in "$1"/ipsets/conntrack-*.xml "$1"/policies/conntrack-*.xml; do
        if [ -f "$file" ] && grep -q 'Made by conntrack' "$file"; then
            mv "$file" "$2${file#"$1"}"
        fi
    done
}

if [ "$word" = delete ]; then
    take "$place" "$new/old"
    echo "taken away from $place; until firewall-cmd --reload it is in force"
    exit
fi
"#;

pub(super) const BEHIND_FILES: &str = r#"
for file in "$new"/ipsets/*.xml "$new"/policies/*.xml; do
    there=$place${file#"$new"}
    if [ -e "$there" ] && ! grep -q 'Made by conntrack' "$there"; then
        echo "$0: $there is not of conntrack: move it away" >&2
        exit 1
    fi
done
take "$place" "$new/old"
take "$new" "$place"
if [ "$place" = /etc/firewalld ] && command -v firewall-offline-cmd >/dev/null &&
    ! firewall-offline-cmd --check-config >&2; then
    take "$place" "$new"
    take "$new/old" "$place"
    echo "$0: firewalld does not take it: nothing is changed" >&2
    exit 1
fi
echo "written to $place"
if [ "$place" = /etc/firewalld ]; then
    echo "firewall-cmd --reload puts it in force"
fi
"#;
