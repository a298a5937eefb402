//! Refused system calls, by seccomp: for the calling thread and the programs that it starts.

use std::env;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Makes a system call fail with this error: always, or where one of the rules matches.
pub fn refuse(system_call: i64, errno: u32, rules: Vec<SeccompRule>) {
    let filter = SeccompFilter::new(
        [(system_call, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        env::consts::ARCH.try_into().expect("an architecture that seccompiler knows"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    apply_filter(&program).expect("applied");
}

/// Makes bpf(2) fail with this error: always, or for one command.
pub fn refuse_bpf(errno: u32, command: Option<u64>) {
    let rules = command.map(|command| {
        let is_command =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command);
        SeccompRule::new(vec![is_command.expect("a condition")]).expect("a rule")
    });
    refuse(libc::SYS_bpf, errno, rules.into_iter().collect());
}

/// Has the kernel have no `sock_diag`.
pub fn refuse_sock_diag() {
    const EPROTONOSUPPORT: u32 = 93;
    let is = |argument, number: i32| {
        let number = u64::try_from(number).expect("a number of the kernel's");
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number)
            .expect("a condition")
    };
    let conditions = vec![is(0, libc::AF_NETLINK), is(2, libc::NETLINK_SOCK_DIAG)];
    let rule = SeccompRule::new(conditions).expect("a rule");
    refuse(libc::SYS_socket, EPROTONOSUPPORT, vec![rule]);
}
