//! Taking runs and feedback in through the real routes, into a real database and a real directory of blobs.
