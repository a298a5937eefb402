//! Rebuilds the programs when bpf-linker changes, which cargo cannot know by itself.

fn main() {
    if let Ok(bpf_linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", bpf_linker.display());
    }
}
