//! What the script does besides its rules, in the words of sh(1).

use std::borrow::Cow;

/// Each message names the script.
pub(super) const REQUIRES_UFW: &str = "
command -v ufw >/dev/null || {
    echo \"$0: there is no ufw here\" >&2
    exit 1
}
";

/// Takes away what conntrack's files added, but not what has this mark. ufw lists a rule as it is typed.
pub(super) const FORGET: &str = r#"
forget() {
    kept=$1
    ufw show added | while IFS= read -r line; do
        case $line in
        *" comment '$kept: "*) continue ;;
        "ufw "*" comment 'conntrack "*) ;;
        *) continue ;;
        esac
        rule=${line#ufw }
        rule=${rule%% comment \'*}
        route=
        case $rule in
        "route "*)
            route=route
            rule=${rule#route }
            ;;
        esac
        set -f
        # shellcheck disable=SC2086  # one word for each of ufw's
        ufw $route delete $rule </dev/null
    done
}
"#;

pub(super) const REQUIRES_SSH: &str = "
if [ -z \"${1-}\" ]; then
    echo \"$0: nobody was seen who comes by ssh (TCP port 22), and they would be refused from now on.\" >&2
    echo \"$0: type ufw allow 22/tcp, and then sh $0 without-ssh\" >&2
    exit 1
fi
";

/// Before anything is changed.
pub(super) const REQUIRES_IPV6: &str = "
command ufw --dry-run allow out proto tcp from ::1 to ::1 port 9 >/dev/null || {
    echo \"$0: some rules are for IPv6: be root, and have IPV6=yes in /etc/default/ufw\" >&2
    exit 1
}
";

/// A word that stays one, whatever is in the text: its mark says which file a rule is of. ufw takes no quotation
/// mark.
pub(super) fn comment(text: &str) -> String {
    let is_fine = |it: &char| !it.is_control() && !matches!(it, '\'' | '"' | '$' | '`' | '\\');
    let text: String = text.chars().filter(is_fine).collect();
    format!("comment \"$mark: {text}\"")
}

/// The name of a device, as a word.
pub(super) fn device(name: &str) -> String {
    shlex::try_quote(name).map_or_else(|_| "''".to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_a_word() {
        let hostile = "a'; reboot; '\n$(id)`id`\"\\";
        assert_eq!(comment(hostile), "comment \"$mark: a; reboot; (id)id\"");
        assert_eq!(device("eth0"), "eth0");
        assert_eq!(device("a;b$c"), "'a;b$c'");
        assert_eq!(device("it's"), "\"it's\"");
    }
}
