//! Which libpcap this program runs with: the crate has no call for it.

use std::ffi::{CStr, c_char};

#[expect(unsafe_code, reason = "the C library's declaration, which the crate leaves out")]
// SAFETY: pcap/pcap.h declares it so; it takes nothing and changes nothing.
unsafe extern "C" {
    safe fn pcap_lib_version() -> *const c_char;
}

/// What libpcap says of itself, as in `libpcap version 1.10.3 (with TPACKET_V3)`.
#[expect(unsafe_code, reason = "the C library hands out a pointer")]
pub fn version() -> String {
    // SAFETY: it is a text that ends with a zero and stays for as long as the library is loaded
    // (pcap_lib_version(3PCAP)).
    let text = unsafe { CStr::from_ptr(pcap_lib_version()) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_its_name_and_a_number() {
        let number = version().strip_prefix("libpcap version ").map(str::to_owned);
        assert!(number.is_some_and(|it| it.starts_with(|it: char| it.is_ascii_digit())));
    }
}
