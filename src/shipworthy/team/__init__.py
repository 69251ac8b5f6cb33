"""Who answers for what: people, their roles and the keys they sign with."""
