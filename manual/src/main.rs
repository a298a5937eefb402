//! Writes the manual pages: `manual NAME DATE DIRECTORY`.

mod page;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use page::Manual;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [name, date, directory] = arguments.as_slice() else {
        bail!("type: manual NAME DATE DIRECTORY");
    };
    for page in (Manual { name, date }).pages()? {
        let path = Path::new(directory).join(&page.file);
        fs::write(&path, page.text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
