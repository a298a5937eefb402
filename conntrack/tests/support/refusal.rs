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
