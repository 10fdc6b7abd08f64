/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mirror, put together: all its parts opened, started, and stopped in their order. A part of
 * the program, for it alone sees all layers.
 *
 *	r = mirror_settings_read(&options, &settings, reason);
 *	r = mirror_new(&options, &settings, &mirror);
 *	r = mirror_open(mirror);		(mounted)
 *	r = mirror_serve(mirror);		(until it is unmounted or told to stop)
 *	mirror_free(mirror);
 */
#pragma once

#include "cache/base/cleanup.h"

struct mirror;
struct mount_options;
struct settings;

/* What background work is to do: the command line, then the file that it names. -EINVAL with
 * the reason (TEXT_REASON_SIZE), or -ENOMEM; `out` holds nothing then. */
int mirror_settings_read(
	const struct mount_options *o, struct settings *out, char *reason) WARN_UNUSED;

/* Borrows the options; the settings are taken by mirror_open(), which leaves them empty, else they
 * stay the caller's. 0 or -ENOMEM. */
int mirror_new(const struct mount_options *o, struct settings *settings,
	struct mirror **out) WARN_UNUSED;

/* Mounts. Returns 0, or -errno after saying why. Free it in both cases. Starts threads. */
int mirror_open(struct mirror *m) WARN_UNUSED;

/* Answers the kernel until the mount is taken away or a signal ends it. 0 or -errno. */
int mirror_serve(struct mirror *m) WARN_UNUSED;

/* Unmounts, stops all threads and frees it. Takes NULL. */
void mirror_free(struct mirror *m);
