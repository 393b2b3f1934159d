//! `mesh-sim wear`.

use std::io::Write;

use anyhow::{Result, ensure};
use clap::Args;
use journal::part::{Part, STM32G4, STM32H743};
use mesh_sim::wear::{Measured, Profile, measure};
use serde_json::json;

const KIB: u32 = 1024;

#[derive(Args)]
pub struct Arguments {
    /// Driving hours a day
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// Approvals, records and the like, in a driving hour
    #[arg(long, default_value_t = 30.0)]
    approvals: f64,
    /// Seconds from block to block when nothing is new
    #[arg(long, default_value_t = 15.0)]
    idle_seconds: f64,
    /// Ignitions a day
    #[arg(long, default_value_t = 6.0)]
    ignitions: f64,
    /// Years that a flash has to live
    #[arg(long, default_value_t = 10.0)]
    years: f64,
    /// Erases that the maker guarantees
    #[arg(long, default_value_t = 10_000)]
    cycles: u32,
    /// KiB of flash for the journal, both banks; by default those of the part
    #[arg(long)]
    journal_kib: Option<u32>,
    /// The figures as JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        ensure!(
            self.idle_seconds > 0.0 && self.hours > 0.0 && self.hours <= 24.0,
            "a day has up to 24 hours, a block some time"
        );
        let mut ok = true;
        for mut part in [STM32G4, STM32H743] {
            if let Some(kib) = self.journal_kib {
                part.geometry.capacity = kib.saturating_mul(KIB);
                ensure!(part.geometry.is_valid(), "{}: {kib} KiB are not two banks of whole pages", part.name);
            }
            ok &= self.tell(out, &part, &measure(part)?)?;
        }
        Ok(ok)
    }

    /// Whether it lives as long as it has to.
    fn tell(&self, out: &mut impl Write, part: &Part, measured: &Measured) -> Result<bool> {
        let Self { hours, approvals, idle_seconds: idle_s, ignitions, years, cycles, .. } = *self;
        let year = measured.year(&Profile { hours, approvals, idle_s, ignitions });
        let lives = f64::from(cycles) / year.erases;
        let (name, kib, page_kib) = (part.name, part.geometry.capacity / KIB, part.geometry.erase_size / KIB);
        let Measured { approval, block, start, bank } = *measured;
        if self.json {
            let bytes = json!({ "approval": approval, "block": block, "start": start, "bank": bank });
            let line = json!({
                "part": name, "journal_kib": kib, "page_kib": page_kib, "bytes": bytes, "bytes_a_year": year.bytes,
                "erases_a_year": year.erases, "cycles": cycles, "years": lives, "ok": lives >= years,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{name}, a journal of {kib} KiB, pages of {page_kib} KiB")?;
            writeln!(
                out,
                "  bytes: {approval:.0} an approval, {block:.0} a block, {start:.0} a start; {bank:.0} in a bank"
            )?;
            writeln!(out, "  a year: {:.1} MB, {:.0} erases of each page", year.bytes / 1e6, year.erases)?;
            writeln!(out, "  {years} years: {:.0} of {cycles} erases; it lives {lives:.0} years", years * year.erases)?;
        }
        Ok(lives >= years)
    }
}
