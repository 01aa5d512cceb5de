//! UDP back ends behind one trait: io_uring, mmsg, tokio-uring and a fake.
