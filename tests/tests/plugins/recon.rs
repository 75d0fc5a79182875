//! `emq_recon`: the rows of `recon`.
