UPDATE instances SET detailed_monitoring = 1 WHERE id = 'i-1';
