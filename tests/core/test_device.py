from shipworthy.core.device import device_class, device_flags, parse_cpuinfo, threads

ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


def test_flags_are_stable_and_name_the_threads():
    assert device_flags() == device_flags()
    assert device_flags()[-1] == f"threads={threads()}"
    assert all(flag in device_class() for flag in device_flags())


def test_an_arm_processor_is_told_by_implementer_and_part():
    name, features = parse_cpuinfo(ARM)
    assert name == "0x41 0xd40"
    assert features == ("asimd", "bf16", "sve")


def test_only_whole_feature_names_count():
    assert parse_cpuinfo("flags: avx avx512f_no amx_bf16x") == ("unknown", ())


def test_the_first_processor_speaks_for_all():
    text = "model name: A\nflags: avx2\n\nmodel name: B\nflags: amx_tile\n"
    assert parse_cpuinfo(text) == ("A", ("avx2",))
