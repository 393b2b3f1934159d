//! An emulated chip beside user-mode Linux, which emulates another machine too slowly: `scripts/lib/vcan-outside` runs it, and its UART is
//! our serial line.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ecu_node::linux::node::NodePaths;
use ecu_node::linux::{emulator, files, keyfile};

use crate::args;
use crate::process::run;
use crate::wait::wait_for;

/// The serial line, as `scripts/vcan` makes it.
pub const LINE: &str = "/run/ttyS0";
/// Its keys, beside its folder, as a chip has them.
const KEYS: &str = "keys.plain";
/// How long what is asked for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is outside.
pub struct Outside {
    /// Seen from both sides.
    shared: PathBuf,
    /// Who runs there: there is one line.
    chip: Option<String>,
}

impl Outside {
    /// `None` where nothing is outside.
    #[must_use]
    pub fn find() -> Option<Self> {
        Some(Self { shared: env::var_os("RINGFORT_OUTSIDE")?.into(), chip: None })
    }

    /// Starts a chip with the files of the device `name` in the folder `car`, which are taken outside the first time; it goes on with
    /// what it has there. It says in `log` what it does, which is made to lead there.
    ///
    /// # Errors
    /// Another one runs, or what is missing.
    pub fn start(&mut self, image: &Path, car: &Path, name: &str, log: &Path) -> Result<()> {
        ensure!(self.chip.is_none(), "there is one line for a chip outside");
        let folder = self.shared.join(format!("{name}-outside"));
        if !folder.exists() {
            fs::create_dir(&folder)?;
            let files = ["genesis.bin", "maker.pub", name, &format!("{name}.counter")].map(|file| car.join(file));
            let [genesis, maker, state, counter] = files.map(|file| file.display().to_string());
            run(Path::new("cp"), args!["-a", genesis, maker, state, counter, folder.display()])?;
            let keys = keyfile::unseal(&NodePaths::provisioned(car, name), None)?;
            files::create(&folder.join(KEYS), &keys, files::SECRET)?;
            std::os::unix::fs::symlink(folder.join("log"), log)?;
        }
        let command = emulator::command(image, &NodePaths::provisioned(&folder, name), KEYS)?;
        let mut text = [folder.as_os_str(), folder.join("log").as_os_str()].map(text_of).concat();
        text += &[command.get_program()].into_iter().chain(command.get_args()).map(text_of).collect::<String>();
        fs::write(self.shared.join("run.new"), text)?;
        fs::rename(self.shared.join("run.new"), self.shared.join("run"))?;
        self.wait_for("run")?;
        self.chip = Some(name.to_owned());
        Ok(())
    }

    /// `kill -9`, if it is this one that runs.
    ///
    /// # Errors
    /// Nobody does it.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        if self.chip.take_if(|chip| chip == name).is_some() {
            fs::write(self.shared.join("kill"), "")?;
            self.wait_for("kill")?;
        }
        Ok(())
    }

    /// What was asked for is taken away.
    fn wait_for(&self, what: &str) -> Result<()> {
        let file = self.shared.join(what);
        wait_for(&format!("{} to be done", file.display()), PATIENCE, || {
            ensure!(!file.exists(), "it is still there");
            Ok(())
        })
        .context("scripts/lib/vcan-outside")
    }
}

fn text_of(word: &std::ffi::OsStr) -> String {
    word.to_string_lossy().into_owned() + "\0"
}
