//! Numbers: quantiles, and their text.

/// The value below which this share (0 to 1) of the values lies.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1).expect("values");
    values[(last as f64 * share).round() as usize]
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values.into_iter().collect(), 0.5)
}

/// With commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Events a second, to three digits.
pub(crate) fn rate(events: u64, seconds: f64) -> u64 {
    let rate = events as f64 / seconds;
    let step = 10f64.powf(rate.log10().floor() - 2.0);
    ((rate / step).round() * step) as u64
}
