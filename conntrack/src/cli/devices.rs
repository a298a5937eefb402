//! `-D`: the devices of this machine, one a line; and which one is meant where none is named.

use std::{fmt, io};

use crate::{
    host::{
        device::DeviceError,
        list::{self, Listed},
    },
    report::log::printable,
};

/// The devices as a table.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    devices: Vec<Listed>,
    /// The one that is watched where none is named.
    default: Option<String>,
}

impl Devices {
    /// # Errors
    /// The kernel's refusal to list them.
    pub(super) fn now() -> io::Result<Self> {
        let default = list::Default::find().ok().map(|it| it.name);
        Ok(Self { devices: list::devices()?, default })
    }

    fn row(&self, device: &Listed) -> [String; 4] {
        let addresses =
            device.addresses.iter().map(|(address, length)| format!("{address}/{length}"));
        let mut addresses: Vec<_> = addresses.collect();
        if self.default.as_ref() == Some(&device.name) {
            addresses.push("(default)".to_owned());
        }
        let [name, kind] = [&device.name, &device.kind].map(|it| printable(it));
        [name, kind, device.state.to_owned(), addresses.join(" ")]
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.devices.iter().map(|it| self.row(it)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for row in &rows {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
            let line = padded.collect::<String>() + &row[3];
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The device to watch where none is named; which one it is, is said if that is a surprise.
pub(super) fn default_device() -> Result<String, DeviceError> {
    let default = list::Default::find()?;
    if default.is_by_route {
        log::info!("no {} here, so it is {default}; choose with -d, list with -D", list::USUAL);
    }
    Ok(default.name)
}
