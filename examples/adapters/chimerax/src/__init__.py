"""ChimeraX bundle of geofold: in ChimeraX, `devel install examples/adapters/chimerax`."""

from chimerax.core.toolshed import BundleAPI


class _Geofold(BundleAPI):
    api_version = 1

    @staticmethod
    def register_command(bundle_info, command_info, logger):
        from chimerax.core.commands import register

        from . import command

        register(command_info.name, command.description, command.geofold, logger=logger)


bundle_api = _Geofold()
