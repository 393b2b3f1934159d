//! The image of one candidate: it checks its known answers, counts each of its operations, says so and ends.

use core::hint::black_box;

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hprintln;
use device_chain::hash::Domain;
use device_chain::mac::Suite;
use device_chain::sign::{self, SigningKey};
use device_chain::types::Hash;
use panic_halt as _;

use crate::count::Counter;
use crate::mac::{HmacSha256, Mac, NoMac, ScheduledCmac, ScheduledHmac, Shipped, SipHash, Vote, agrees_with_openssl};
use crate::signature;

/// Which candidate this image holds; the linker drops the others.
const CANDIDATE: &str = match option_env!("RINGFORT_CANDIDATE") {
    Some(name) => name,
    None => "nothing",
};

#[cortex_m_rt::entry]
fn main() -> ! {
    let as_it_has_to_be = candidate().is_some();
    debug::exit(if as_it_has_to_be { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

fn candidate() -> Option<()> {
    let mut counter = Counter::start(cortex_m::Peripherals::take()?.SYST)?;
    match CANDIDATE {
        "nothing" => report(&mut counter, "nothing", &mut || {}),
        "no-mac" => mac::<NoMac>(&mut counter, 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
        "cmac" => mac::<Shipped<{ Suite::Cmac.code() }>>(&mut counter, 0x5247_121d_b0e5_0733_fb83_bab0_8fbb_a8ea),
        "cmac-scheduled" => mac::<ScheduledCmac>(&mut counter, 0x5247_121d_b0e5_0733_fb83_bab0_8fbb_a8ea),
        "blake2s" => mac::<Shipped<{ Suite::Blake2s.code() }>>(&mut counter, 0xb233_98f9_1059_9f3c_09b6_549f_a81b_cb46),
        "siphash" => mac::<SipHash>(&mut counter, 0xf7e5_aef5_49f7_82cf_3790_55a6_0826_9b16),
        "hmac-sha256" => mac::<HmacSha256>(&mut counter, 0xc31a_7fb7_648a_830a_8104_434c_d9cc_3fda),
        "hmac-sha256-scheduled" => mac::<ScheduledHmac>(&mut counter, 0xc31a_7fb7_648a_830a_8104_434c_d9cc_3fda),
        "ed25519-keygen" => keygen(&mut counter),
        "ed25519-sign" => sign(&mut counter),
        "ed25519-verify" => verify(&mut counter),
        _ => None,
    }
}

/// Prints what `operation` takes. `None` if that is not the same each time.
fn report(counter: &mut Counter, name: &str, operation: &mut dyn FnMut()) -> Option<()> {
    let cost = counter.cost(operation)?;
    hprintln!("{} instructions={} stack_pointer={}", name, cost.instructions, cost.stack_pointer);
    Some(())
}

fn mac<M: Mac>(counter: &mut Counter, known: u128) -> Option<()> {
    let mut vote = Vote::<M>::new();
    report(counter, "make", &mut || black_box(&mut vote).make())?;
    let mut genuine = true;
    report(counter, "check", &mut || genuine &= black_box(&vote).check(0))?;
    vote.spoil();
    let forged = vote.check(0);
    (agrees_with_openssl::<M>(known) && genuine && !forged).then_some(())
}

fn keygen(counter: &mut Counter) -> Option<()> {
    let mut public = None;
    report(counter, "keygen", &mut || public = Some(SigningKey::from_seed(black_box(signature::seed())).public()))?;
    (public == Some(signature::public())).then_some(())
}

fn sign(counter: &mut Counter) -> Option<()> {
    let key = SigningKey::from_seed(signature::seed());
    let mut seal = None;
    report(counter, "sign", &mut || seal = Some(key.sign(Domain::Block, black_box(&Hash::NIL))))?;
    (seal == Some(signature::seal())).then_some(())
}

fn verify(counter: &mut Counter) -> Option<()> {
    let (public, seal) = (signature::public(), signature::seal());
    let mut genuine = true;
    report(counter, "verify", &mut || genuine &= sign::verify(&public, Domain::Block, black_box(&Hash::NIL), &seal))?;
    let forged = sign::verify(&public, Domain::Block, &Hash([1; 32]), &seal);
    (genuine && !forged).then_some(())
}
