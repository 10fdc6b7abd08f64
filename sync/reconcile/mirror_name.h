/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tells a mirror from all others of a fleet, most of which have the same mountpoint: the machine
 * (/etc/machine-id and the host's name, as one or the other may have been copied with an image) and
 * the mountpoint. Only to be hashed: delays are made of it.
 */
#pragma once

#define MIRROR_NAME_SIZE 512

/* What does not fit is cut off. */
void mirror_name(const char *mountpoint, char out[MIRROR_NAME_SIZE]);
