/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cache/sample_catalog.h"

#include <sys/stat.h>

struct built_catalog *sample_nested_catalog(void)
{
	struct catalog_builder *b = builder_new("pack");

	builder_file(b, BUILDER_TOP, "inside", "inside", 6, 64);
	return builder_finish(b);
}

struct built_catalog *sample_catalog(void)
{
	struct built_catalog *nested = sample_nested_catalog();
	struct catalog_builder *b = builder_new("");
	uint32_t a = builder_dir(b, BUILDER_TOP, "a");
	uint32_t deep = builder_dir(b, a, "deep");
	uint8_t data[300];

	built_fill(data, sizeof(data), 1);
	builder_frame_bytes(b, 256);
	builder_file(b, a, "big", data, sizeof(data), 100);
	uint32_t small = builder_file(b, BUILDER_TOP, "small", "small", 5, 64);

	builder_xattr(b, small, "user.one", "1", 1);
	builder_xattr(b, small, "user.two", "22", 2);
	builder_link(b, deep, "link", small);
	builder_sparse(b, BUILDER_TOP, "sparse", 10000, 5000, "data", 4, 64);
	builder_symlink(b, BUILDER_TOP, "to", "a/big");
	builder_special(b, BUILDER_TOP, "null", S_IFCHR | 0666, 1, 3);
	builder_special(b, BUILDER_TOP, "pipe", S_IFIFO | 0600, 0, 0);
	builder_nested(b, BUILDER_TOP, "pack", nested);
	struct built_catalog *built = builder_finish(b);

	built_free(nested);
	return built;
}
