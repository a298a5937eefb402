//! The dashboard for Grafana, checked against Grafana's own types by the compiler of TypeScript, both from npm. It is
//! not run.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::places::{Places, read};
use crate::{command, folder};

/// In these versions; `docs/fleet.md` names Grafana's.
const PACKAGES: [&str; 2] = ["@grafana/schema@13.2.3", "typescript@7.0.2"];

const SETTINGS: &str = r#"{
    "compilerOptions": {
        "strict": true, "noEmit": true, "skipLibCheck": true, "module": "esnext", "moduleResolution": "bundler",
        "types": []
    },
    "files": ["dashboard.ts"]
}"#;

/// Refuses what Grafana's types do not know.
pub(super) fn check(places: &Places) -> Result<()> {
    let folder = places.own.join("dashboard");
    folder::once(&folder, &PACKAGES.join(" "), |partial| {
        fs::write(partial.join("package.json"), "{\"private\": true}")?;
        fs::write(partial.join("tsconfig.json"), SETTINGS)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
        command::run(npm.args(PACKAGES).current_dir(partial))
    })?;
    let dashboard = read(&places.recipes.join("dashboard.json"))?;
    compile(&folder, &dashboard)?;
    // It would be no check if anything passed.
    for (from, to) in [
        ("\"gridPos\"", "\"gridPosition\""),
        ("\"schemaVersion\": 39", "\"schemaVersion\": \"39\""),
    ] {
        ensure!(dashboard.contains(from), "the dashboard has no {from}");
        let is_refused = compile(&folder, &dashboard.replacen(from, to, 1)).is_err();
        ensure!(is_refused, "a dashboard with {to} passes");
    }
    Ok(())
}

fn compile(folder: &Path, dashboard: &str) -> Result<()> {
    let types = "./node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen.js";
    // A text is no member of an enumeration to the compiler.
    let dashboard =
        dashboard.replace("\"mode\": \"absolute\"", "\"mode\": ThresholdsMode.Absolute");
    let text = format!(
        "import {{ type Dashboard, ThresholdsMode }} from \"{types}\";\n\
         export const dashboard: Dashboard = {dashboard};\n"
    );
    let path = folder.join("dashboard.ts");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    let mut compiler = Command::new(folder.join("node_modules/.bin/tsc"));
    command::output(compiler.args(["--project", "."]).current_dir(folder)).map(drop)
}
