"""Transfer methods: `specs` holds their configurations (no torch), one module each their code."""
