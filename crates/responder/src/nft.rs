//! To be written: the one nftables table of ours.
