/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom weir-ctrl may ask for OCSP responses. Who may write a Secret chooses
 * the URL, and must not get weir-ctrl to speak to what he himself cannot reach.
 */
#ifndef OCSP_ADDRESS_H
#define OCSP_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * any false: global unicast addresses alone, port 80. any true: private addresses, loopback and other ports, too, but
 * still neither link-local addresses, where clouds have their metadata, nor multicast and others that are nobody's.
 */
bool ocsp_address_is_allowed(const struct sockaddr *a, bool any);

#endif
