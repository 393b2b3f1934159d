//! Both ends of the cloud link: the uplink library and the fleet service.
