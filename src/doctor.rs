//! `fractally doctor`.

use fractally_worker::{ENGINE_ID, Kernel};

use crate::{
    AGENT,
    cli::DoctorArgs,
    exit::Failure,
    output::print_line,
    worker::{cores, unknown_kernel},
};

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let (kernel, reason) = Kernel::choose(args.kernel.as_deref()).map_err(unknown_kernel)?;
    let all: Vec<_> = Kernel::all().into_iter().map(Kernel::name).collect();
    print_line(&format!(
        "program  {AGENT}\nengine   {ENGINE_ID}\ncores    {}\nkernel   {}: {reason}\nkernels  {} (slowest first; --kernel or FRACTALLY_KERNEL \
         chooses)",
        cores(),
        kernel.name(),
        all.join(", "),
    ))
}
